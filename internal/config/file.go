package config

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"postbag/internal/auth"
	"postbag/internal/mail"
)

// The file as it is written: texts that are not parsed yet.
type (
	file struct {
		Accounts map[string]*account `toml:"accounts"`
		watched
	}
	account struct {
		Server         string    `toml:"server"`
		Provider       string    `toml:"provider"`
		User           string    `toml:"user"`
		Maildir        string    `toml:"maildir"`
		Layout         string    `toml:"layout"`
		State          string    `toml:"state"`
		Password       *password `toml:"password"`
		Auth           string    `toml:"auth"`
		TLSCA          string    `toml:"tls_ca"`
		TLSPin         any       `toml:"tls_pin"` // text or list
		AllowPlaintext bool      `toml:"allow_plaintext"`
		Tunnel         any       `toml:"tunnel"` // command line or argv
		Compress       *bool     `toml:"compress"`
		Connections    *int      `toml:"connections"`
		Mailboxes      []string  `toml:"mailboxes"`
		Mirror         bool      `toml:"mirror"`
		Policy         string    `toml:"policy"`
		ToServer       any       `toml:"to_server"`  // text or list
		ToMaildir      any       `toml:"to_maildir"` // text or list
		DelMailboxes   bool      `toml:"delete_mailboxes"`
		Subscriptions  bool      `toml:"subscriptions"`
		Trash          string    `toml:"trash"`
		KeepDeleted    string    `toml:"keep_deleted"`
		MaxDelete      *int      `toml:"max_delete"`
		Since          string    `toml:"since"`
		Before         string    `toml:"before"`
		Larger         string    `toml:"larger"`
		Smaller        string    `toml:"smaller"`
		LimitRate      string    `toml:"limit_rate"`
		LimitMessages  any       `toml:"limit_messages"` // number or text
		LimitDayUp     string    `toml:"limit_day_up"`
		LimitDayDown   string    `toml:"limit_day_down"`
		Refused        string    `toml:"refused"`
		Fix            any       `toml:"fix"` // text or list
		Gmail          string    `toml:"gmail"`
		watched
	}
	password struct {
		Command any         `toml:"command"` // command line or argv
		File    string      `toml:"file"`
		Env     string      `toml:"env"`
		Value   auth.Secret `toml:"value"`
		Prompt  bool        `toml:"prompt"`
	}
)

// parse reads the text of a configuration file into c.
func (c *Config) parse(text []byte, env Environment) error {
	var f file
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return c.decodeError(err)
	}
	base := filepath.Dir(c.Path)
	var err error
	if c.Monitor, err = f.watched.resolve(base, env); err != nil {
		return c.fail(err, mail.AsError(err).Hint)
	}
	names := make([]string, 0, len(f.Accounts))
	for name := range f.Accounts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := checkAccountName(name); err != nil {
			return c.fail(err, "use letters, digits, '.', '_' and '-'")
		}
		a, err := f.Accounts[name].resolve(base, env)
		if err != nil {
			e := mail.AsError(err)
			return c.fail(fmt.Errorf("accounts.%s.%w", name, err), e.Hint)
		}
		a.Name = name
		c.Accounts[name] = a
	}
	return nil
}

// checkAccountName keeps apart from paths and addresses what is used beside
// them on the command line.
func checkAccountName(name string) error {
	ok := name != "" && !strings.HasPrefix(name, "-") && !strings.HasPrefix(name, ".")
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}
	if !ok {
		return fmt.Errorf("accounts: %q cannot be the name of an account", name)
	}
	return nil
}

// decodeError says where in the file the decoder stopped, in the words of the
// configuration instead of Go's. It repeats keys but never values, which may be
// passwords.
func (c *Config) decodeError(err error) error {
	de, ok := errors.AsType[*toml.DecodeError](err)
	if !ok {
		return c.fail(errors.New("is no TOML that can be read"), "")
	}
	line, _ := de.Position()
	key := strings.Join(de.Key(), ".")
	at := &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: fmt.Sprintf("%s line %d", c.Path, line)}
	if _, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		at.Err = fmt.Errorf("unknown key %s", key)
		if near := nearestKey(de.Key()); near != "" {
			at.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return at
	}
	reason := strings.TrimPrefix(de.Error(), "toml: ")
	if wanted := wantedAt(de.Key()); wanted != "" && strings.HasPrefix(reason, "cannot ") {
		at.Err = fmt.Errorf("%s: %s is wanted", key, wanted)
		return at
	}
	at.Err = errors.New(reason)
	if key != "" {
		at.Err = fmt.Errorf("%s: %s", key, reason)
	}
	return at
}

// nearestKey is the known key that resembles the last part of an unknown one.
// The decoder leaves inline tables out of the path, so the keys of an account
// and of its password count as one level.
func nearestKey(path toml.Key) string {
	if len(path) == 0 {
		return ""
	}
	if len(path) == 1 || path[0] != "accounts" {
		return Nearest(path[0], keys(reflect.TypeFor[file]()))
	}
	known := keys(reflect.TypeFor[account]())
	if len(path) > 3 {
		known = nil
	}
	return Nearest(path[len(path)-1], append(known, keys(reflect.TypeFor[password]())...))
}

func keys(t reflect.Type) []string {
	var names []string
	for _, field := range reflect.VisibleFields(t) {
		if !field.Anonymous {
			names = append(names, field.Tag.Get("toml"))
		}
	}
	return names
}

// wantedAt says what kind of value a key takes.
func wantedAt(path toml.Key) string {
	if len(path) == 0 {
		return ""
	}
	for _, t := range []reflect.Type{reflect.TypeFor[account](), reflect.TypeFor[password]()} {
		for _, field := range reflect.VisibleFields(t) {
			if field.Tag.Get("toml") != path[len(path)-1] {
				continue
			}
			switch field.Type {
			case reflect.TypeFor[bool](), reflect.TypeFor[*bool]():
				return "true or false"
			case reflect.TypeFor[*int]():
				return "a number"
			case reflect.TypeFor[[]string]():
				return "a list of texts"
			case reflect.TypeFor[*password]():
				return `a table such as { command = ["pass", "show", "mail"] }`
			default:
				return "a text"
			}
		}
	}
	return "a table"
}
