// Package config reads the configuration file and the values that it shares
// with the command line: server addresses, mailbox patterns, sizes, dates and
// ages. It opens no connection and reads no password.
//
// The file is TOML, at $XDG_CONFIG_HOME/postbag/config.toml unless another one
// is named. Each table [accounts.NAME] is one account. A key that is not known
// is an error: a misspelt "mirror" must not be passed over. Relative paths in it
// start at the file's directory.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"postbag/internal/auth"
	"postbag/internal/mail"
	"postbag/internal/repair"
)

// maxFile bounds the size of a configuration file, in octets.
const maxFile = 1 << 20

// Config is a configuration file.
type Config struct {
	Path     string // where it was read, or would have been
	Accounts map[string]*Account
	Monitor  Monitor // of whole runs
}

// Account is one [accounts.NAME]. Paths are expanded. Zero values mean that the
// key is absent.
type Account struct {
	Name           string
	Server         Server
	Provider       string // the name of a preset
	Maildir        string
	Layout         string // "verbatim", "maildir++", "flat"
	State          string
	Password       auth.Source
	Auth           string // as auth.ParseMechanism answers
	TLSCA          string
	TLSPins        [][]byte // SHA-256 of a public key each
	AllowPlaintext bool
	Tunnel         []string // argv
	NoCompress     bool
	Connections    int
	Mailboxes      []string // patterns, see ParsePatterns
	Usual          []string // the configuration's, where Mailboxes are those of a flag
	Mirror         bool
	Policy         string      // a preset of sync, as ParsePolicy answers
	ToServer       *Operations // nil: as the preset says
	ToMaildir      *Operations
	DelMailboxes   bool   // follow the deletion of mailboxes where deletions are followed
	Subscriptions  bool   // subscriptions follow, too
	Trash          string // where a sync puts what it removes on the server, as ParseTrash answers
	KeepDeleted    Age
	MaxDelete      int
	Since, Before  Date
	Larger         int64   // octets
	Smaller        int64   // octets
	LimitRate      int64   // octets per second
	LimitMessages  float64 // messages per second
	LimitDayUp     int64   // octets; negative for none, whatever is known of the provider
	LimitDayDown   int64   // likewise
	Refused        string  // what to do about a message that is refused, as ParseRefused answers
	Fix            repair.Set
	Gmail          string  // how labels are shown, as ParseGmail answers
	Monitor        Monitor // of the account's part in a run
}

// Environment is what reading a configuration needs of the world.
type Environment struct {
	LookupEnv func(name string) (string, bool)
	Home      string // the home directory; "" when there is none
	// Preset is the address, without a user, that a provider's short name stands for;
	// "" when each user of it has a server of their own. Without such a name all are
	// answered. nil knows none.
	Preset func(name string) (server string, ok bool, all []string)
}

// DefaultPath is where the configuration is when nobody says otherwise.
func DefaultPath(env Environment) string {
	if dir, ok := env.LookupEnv("XDG_CONFIG_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "postbag", "config.toml")
	}
	return filepath.Join(env.Home, ".config", "postbag", "config.toml")
}

// Load reads the file at path, or at DefaultPath when path is "". A missing
// file is an error only when it was named. So is one that other users can
// change, since it names programs to run, and one with a password in it that
// other users can read. Errors are *mail.Error of KindUsage.
func Load(path string, env Environment) (*Config, error) {
	named := path != ""
	if !named {
		path = DefaultPath(env)
	}
	c := &Config{Path: path, Accounts: map[string]*Account{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return c, nil
	}
	if err != nil {
		return nil, c.fail(bare(err), "")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, c.fail(bare(err), "")
	}
	if !info.Mode().IsRegular() {
		return nil, c.fail(errors.New("is no regular file"), "")
	}
	if err := auth.CheckPrivate(info, false); err != nil {
		return nil, c.fail(mail.AsError(err).Err, mail.AsError(err).Hint)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, c.fail(bare(err), "")
	}
	if len(text) > maxFile {
		return nil, c.fail(fmt.Errorf("is larger than %d octets", maxFile), "")
	}
	if err := c.parse(text, env); err != nil {
		return nil, err
	}
	if held := c.secret(); held != "" {
		if err := auth.CheckPrivate(info, true); err != nil {
			return nil, c.fail(fmt.Errorf("holds %s and %w", held, mail.AsError(err).Err), mail.AsError(err).Hint)
		}
	}
	return c, nil
}

// secret names a secret that the file holds; "" when it holds none.
func (c *Config) secret() string {
	if !c.Monitor.PingURL.IsZero() {
		return "a ping_url"
	}
	for _, name := range c.Names() {
		if a := c.Accounts[name]; !a.Password.Value.IsZero() {
			return "the password of account " + name
		} else if !a.Monitor.PingURL.IsZero() {
			return "the ping_url of account " + name
		}
	}
	return ""
}

// Names are the names of the accounts, sorted.
func (c *Config) Names() []string {
	names := make([]string, 0, len(c.Accounts))
	for name := range c.Accounts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Account finds an account; a misspelt name gets a hint.
func (c *Config) Account(name string) (*Account, error) {
	if a, ok := c.Accounts[name]; ok {
		return a, nil
	}
	hint := fmt.Sprintf("accounts are configured in %s", c.Path)
	if near := Nearest(name, c.Names()); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return nil, usage("account "+name, hint, "is not configured")
}

func (c *Config) fail(err error, hint string) error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: c.Path, Err: err, Hint: hint}
}

// usage is an error in what the user gave: what names the thing.
func usage(what, hint, format string, args ...any) error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: what, Err: fmt.Errorf(format, args...), Hint: hint}
}

// bare takes the path out of a file error: the caller shows it already.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// midnight is the beginning of t's day.
func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
}
