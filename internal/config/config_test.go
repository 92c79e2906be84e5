package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"postbag/internal/auth"
	"postbag/internal/mail"
)

const canary = "c4nary-Pa55"

var testEnv = Environment{Home: "/home/me", LookupEnv: func(string) (string, bool) { return "", false }}

// write makes a configuration file and answers with its path.
func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

const full = `
[accounts.work]
server = "imaps://imap.example.org:1993"
user = "me@example.org"
maildir = "~/mail/work"
layout = "maildir++"
state = "work.db"
password = { command = ["pass", "show", "~/x"] }
auth = "xoauth2"
tls_ca = "$HOME/ca.pem"
tls_pin = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
connections = 2
mailboxes = ["INBOX", "!\\Junk"]
mirror = true
keep_deleted = "2w"
max_delete = 500
compress = false
since = "2024-01-31"
larger = "1K"
smaller = "10M"
limit_rate = "500K"
limit_messages = 0.5
refused = "fail"
gmail = "plain"

[accounts.home]
server = "imap://me@localhost"
allow_plaintext = true
limit_messages = 4
max_delete = 7
password.prompt = true

[accounts.far]
server = "imap://mail.example.org"
limit_messages = "1.5"
tunnel = "ssh mail.example.org '/usr/lib/dovecot/imap -x'"
`

func TestLoad(t *testing.T) {
	t.Parallel()
	path := write(t, full, 0o644)
	c, err := Load(path, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(c.Names()), "[far home work]"; got != want {
		t.Errorf("names: got %s, want %s", got, want)
	}
	pin := make([]byte, 32)
	pin[31] = 1
	want := &Account{
		Name:        "work",
		Server:      Server{Scheme: "imaps", User: "me@example.org", Host: "imap.example.org", Port: 1993},
		Maildir:     "/home/me/mail/work",
		Layout:      "maildir++",
		State:       filepath.Join(filepath.Dir(path), "work.db"),
		Password:    auth.Source{Command: []string{"pass", "show", "/home/me/x"}},
		Auth:        "XOAUTH2",
		TLSCA:       "/home/me/ca.pem",
		TLSPins:     [][]byte{pin},
		NoCompress:  true,
		Connections: 2,
		Mailboxes:   []string{"INBOX", `!\Junk`},
		Mirror:      true,
		KeepDeleted: Age{Days: 14, Set: true},
		MaxDelete:   500,
		Larger:      1024, Smaller: 10 << 20, LimitRate: 500 << 10, LimitMessages: 0.5, Refused: "fail", Gmail: "plain",
	}
	got := c.Accounts["work"]
	want.Since = Date{day: time.Date(2024, 1, 31, 0, 0, 0, 0, time.UTC), set: true}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	home := c.Accounts["home"]
	if !home.AllowPlaintext || !home.Password.IsZero() || home.MaxDelete != 7 || home.LimitMessages != 4 {
		t.Errorf("home: got %+v", home)
	}
	if got, want := c.Accounts["far"].Tunnel, []string{"ssh", "mail.example.org", "/usr/lib/dovecot/imap -x"}; !reflect.DeepEqual(got, want) {
		t.Errorf("tunnel: got %q, want %q", got, want)
	}
	if got := c.Accounts["far"].LimitMessages; got != 1.5 {
		t.Errorf("limit_messages as a text: got %v", got)
	}
	if _, err := c.Account("wrok"); errText(err) != "account wrok: is not configured" || mail.AsError(err).Hint != `did you mean "work"?` {
		t.Errorf("got %v, hint %q", err, mail.AsError(err).Hint)
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	account := "[accounts.a]\nserver = 'imaps://me@h.example'\n"
	tests := []struct{ name, text, want, hint string }{
		{"misspelt key", account + "mirorr = true", "PATH line 3: unknown key accounts.a.mirorr", `did you mean "mirror"?`},
		{"dash for underscore", account + "max-delete = 3", "PATH line 3: unknown key accounts.a.max-delete", `did you mean "max_delete"?`},
		{"unknown key", account + "xyzzy = true", "PATH line 3: unknown key accounts.a.xyzzy", ""},
		{"key outside of a table", "mirror = true", "PATH line 1: unknown key mirror", ""},
		{"misspelt table", "[acounts.a]\nserver='x'", "PATH line 1: unknown key acounts.a", `did you mean "accounts"?`},
		{"misspelt key in a table", account + "[accounts.a.password]\n\ncomand = '" + canary + "'", "PATH line 5: unknown key accounts.a.password.comand", `did you mean "command"?`},
		{"misspelt key in an inline table", account + "password = { comand = '" + canary + "' }", "PATH line 3: unknown key accounts.a.comand", `did you mean "command"?`},
		{"password as a text", account + "password = '" + canary + "'", `PATH line 3: accounts.a.password: a table such as { command = ["pass", "show", "mail"] } is wanted`, ""},
		{"password without quotes", account + "password = " + canary, "PATH line 3: unexpected character U+0063 'c' at start of value", ""},
		{"text for a number", account + "connections = '4'", "PATH line 3: accounts.a.connections: a number is wanted", ""},
		{"text for a truth value", account + "mirror = 'yes'", "PATH line 3: accounts.a.mirror: true or false is wanted", ""},
		{"text for a list", account + "mailboxes = 'INBOX'", "PATH line 3: accounts.a.mailboxes: a list of texts is wanted", ""},
		{"number for a text", account + "since = 2024", "PATH line 3: accounts.a.since: a text is wanted", ""},
		{"twice", account + account, "PATH line 3: accounts.a: table a already exists", ""},
		{"cut off", account + "maildir = 'x", "PATH line 3: unterminated literal string", ""},
		{"no server", "[accounts.a]\nuser='me'", "PATH: accounts.a.server: is missing", `server = "imaps://imap.example.org", or provider = "gmail"`},
		{"no user", "[accounts.a]\nserver='imaps://h.example'", "PATH: accounts.a.user: is missing", `user = "me@example.org"`},
		{"two users", account + "user='you'", `PATH: accounts.a.user: is "you", and server says "me"`, ""},
		{"password in the address", "[accounts.a]\nserver = 'imaps://me:" + canary + "@h.example'", "PATH: accounts.a.server: a password does not belong in an address: other users and the shell's history see it", "take it out and give --password-command, --password-file or --password-env; a colon in the user's name is written %3A"},
		{"two passwords", account + "password = { env = 'X', value = '" + canary + "' }", "PATH: accounts.a.password: takes exactly one of command, file, env, value and prompt", `such as { command = ["pass", "show", "mail"] }`},
		{"no password", account + "password = {}", "PATH: accounts.a.password: takes exactly one of command, file, env, value and prompt", `such as { command = ["pass", "show", "mail"] }`},
		{"empty command", account + "password = { command = [] }", "PATH: accounts.a.password: names no program", ""},
		{"odd layout", account + "layout = 'mbox'", `PATH: accounts.a.layout: unknown layout "mbox"`, "one of verbatim, maildir++, flat"},
		{"odd date", account + "since = 'yesterday'", `PATH: accounts.a.since: "yesterday" is no date`, `such as "2024-01-31", or "90d" for 90 days ago`},
		{"odd size", account + "larger = '10X'", `PATH: accounts.a.larger: "10X" is no size`, `such as "500K" or "10M"`},
		{"odd rate", account + "limit_rate = '10'", `PATH: accounts.a.limit_rate: "10" is less than 1K a second`, `octets per second, such as "500K"`},
		{"odd choice", account + "refused = 'stop'", `PATH: accounts.a.refused: "stop" is no choice`, "one of skip, fail"},
		{"odd pace", account + "limit_messages = 'fast'", `PATH: accounts.a.limit_messages: "fast" is no number of messages per second`, "messages per second, such as 4, or 0.33 for one in three seconds"},
		{"pace 0", account + "limit_messages = 0", `PATH: accounts.a.limit_messages: "0" is not between 0.01 and 1000000 messages per second`, "messages per second, such as 4, or 0.33 for one in three seconds"},
		{"pace NaN", account + "limit_messages = nan", `PATH: accounts.a.limit_messages: "NaN" is no number of messages per second`, "messages per second, such as 4, or 0.33 for one in three seconds"},
		{"pace of a truth value", account + "limit_messages = true", `PATH: accounts.a.limit_messages: a number is wanted`, ""},
		{"odd age", account + "keep_deleted = '30'", `PATH: accounts.a.keep_deleted: "30" is no age`, `such as "30d", "2w", "1y", "0" or "forever"`},
		{"odd bound", account + "max_delete = -1", `PATH: accounts.a.max_delete: "-1" is no number of messages`, "the most messages that a run may delete, such as 500"},
		{"many connections", account + "connections = 99", "PATH: accounts.a.connections: 99 is not between 1 and 32", ""},
		{"no connections", account + "connections = 0", "PATH: accounts.a.connections: 0 is not between 1 and 32", ""},
		{"odd mechanism", account + "auth = 'ntlm'", `PATH: accounts.a.auth: unknown mechanism "ntlm"`, "one of auto, plain, login, xoauth2, oauthbearer"},
		{"odd pin", account + "tls_pin = ['ab']", `PATH: accounts.a.tls_pin: "ab" is no SHA-256`, "the SHA-256 of the certificate's public key, as 64 hexadecimal digits or base64"},
		{"odd list", account + "tls_pin = [1]", "PATH: accounts.a.tls_pin: a list of texts is wanted", ""},
		{"odd role", account + `mailboxes = ['\Snet']`, "PATH: accounts.a.mailboxes: there is no role of that name", `one of \All, \Archive, \Drafts, \Flagged, \Junk, \Sent, \Trash`},
		{"plaintext with TLS", account + "allow_plaintext = true", "PATH: accounts.a.allow_plaintext: does not go with imaps://", "write imap:// for a server without TLS"},
		{"odd account name", "[accounts.'a/b']\nserver='imaps://me@h.example'", `PATH: accounts: "a/b" cannot be the name of an account`, "use letters, digits, '.', '_' and '-'"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, test.text, 0o600)
			_, err := Load(path, testEnv)
			if got := strings.ReplaceAll(errText(err), path, "PATH"); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if e := mail.AsError(err); e == nil || e.Hint != test.hint || e.Kind != mail.KindUsage {
				t.Errorf("got %+v\nwant a usage error with hint %q", e, test.hint)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, mail.AsError(err)), canary) {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestLoadWhenOthersCanReach(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("files have no modes here")
	}
	account := "[accounts.a]\nserver = 'imaps://me@h.example'\n"
	secret := account + "password = { value = '" + canary + "' }\n"
	for _, test := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{account, 0o644, ""},
		{account, 0o664, "can be changed by other users (mode 0664)"},
		{account, 0o602, "can be changed by other users (mode 0602)"},
		{secret, 0o600, ""},
		{secret, 0o640, "holds the password of account a and can be read by other users (mode 0640)"},
		{secret, 0o604, "holds the password of account a and can be read by other users (mode 0604)"},
	} {
		path := write(t, test.text, test.mode)
		c, err := Load(path, testEnv)
		want := test.want
		if want != "" {
			want = path + ": " + want
		}
		if got := errText(err); got != want {
			t.Errorf("mode %04o: got %q, want %q", test.mode, got, want)
		}
		if err == nil && test.text == secret && c.Accounts["a"].Password.Value.Reveal() != canary {
			t.Errorf("the password was not read")
		}
		if got := fmt.Sprintf("%+v", c); strings.Contains(got, canary) {
			t.Errorf("the configuration prints the password: %s", got)
		}
	}
}

func TestLoadWhenMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := Environment{Home: dir, LookupEnv: func(string) (string, bool) { return "", false }}
	c, err := Load("", env)
	if err != nil || len(c.Accounts) != 0 {
		t.Errorf("got %v, %v, want no accounts", c, err)
	}
	if got, want := c.Path, filepath.Join(dir, ".config/postbag/config.toml"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err = Load(dir+"/none", env); errText(err) != dir+"/none: no such file or directory" {
		t.Errorf("got %v", err)
	}
	if _, err = Load(dir, env); errText(err) != dir+": is no regular file" {
		t.Errorf("got %v", err)
	}
	env.LookupEnv = func(name string) (string, bool) { return "/xdg", name == "XDG_CONFIG_HOME" }
	if got, want := DefaultPath(env), filepath.FromSlash("/xdg/postbag/config.toml"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestExpandPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"~": "/home/me", "~/a": "/home/me/a", "$HOME/a": "/home/me/a", "${HOME}/a": "/home/me/a",
		"~you/a": "/base/~you/a", "$HOMES/a": "/base/$HOMES/a", "a": "/base/a", "/a/../b": "/b", ".": "/base",
	} {
		if got, err := ExpandPath(path, "/base", testEnv); got != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", path, got, err, want)
		}
	}
	if _, err := ExpandPath("~/a", "/base", Environment{}); errText(err) != "path ~/a: there is no home directory" {
		t.Errorf("got %v", err)
	}
}

// No text crashes the reader, and no error repeats a value that stands where a
// password does.
func FuzzLoad(f *testing.F) {
	f.Add(full)
	f.Add("[accounts.a]\npassword = { value = 'x' }")
	f.Add("[[accounts]]\n")
	f.Add("accounts = 3")
	f.Add("accounts.a.password = [1, {x = 2}]")
	f.Add("[accounts.a]\ntls_pin = [[], 1979-05-27]")
	f.Fuzz(func(t *testing.T, text string) {
		c := &Config{Path: "config.toml", Accounts: map[string]*Account{}}
		if err := c.parse([]byte(text), testEnv); err != nil && mail.AsError(err).Kind != mail.KindUsage {
			t.Errorf("%q: got %v, want a usage error", text, err)
		}
	})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
