package config

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"postbag/internal/auth"
	"postbag/internal/mail"
)

// MaxConnections is the largest number of connections that can be asked for.
// No provider allows more to one account.
const MaxConnections = 32

// layouts are the ways to lay mailboxes out in a Maildir tree.
var layouts = []string{"verbatim", "maildir++", "flat"}

// ParseLayout checks the name of a Maildir layout.
func ParseLayout(name string) (string, error) {
	for _, l := range layouts {
		if strings.EqualFold(l, name) {
			return l, nil
		}
	}
	return "", usage("layout", "one of "+strings.Join(layouts, ", "), "unknown layout %q", name)
}

// resolve checks and expands what the file says about one account. Errors name
// the key.
func (a *account) resolve(base string, env Environment) (*Account, error) {
	out := &Account{AllowPlaintext: a.AllowPlaintext, Mirror: a.Mirror, Mailboxes: a.Mailboxes, DelMailboxes: a.DelMailboxes, Subscriptions: a.Subscriptions,
		NoCompress: a.Compress != nil && !*a.Compress}
	var first error
	// set runs one parser, unless the key is absent or an earlier one failed.
	set := func(key, value string, parse func() error) {
		if first != nil || value == "" {
			return
		}
		if err := parse(); err != nil {
			first = atKey(key, err)
		}
	}
	path := func(key, value string, to *string) {
		set(key, value, func() (err error) { *to, err = expand(value, base, env); return })
	}
	set("server", a.Server, func() (err error) { out.Server, err = ParseServer(a.Server); return })
	set("provider", a.Provider, func() error { return a.preset(out, env) })
	set("user", a.User, func() error { return out.setUser(a.User) })
	path("maildir", a.Maildir, &out.Maildir)
	path("state", a.State, &out.State)
	path("tls_ca", a.TLSCA, &out.TLSCA)
	set("layout", a.Layout, func() (err error) { out.Layout, err = ParseLayout(a.Layout); return })
	set("policy", a.Policy, func() (err error) { out.Policy, err = ParsePolicy(a.Policy); return })
	set("trash", a.Trash, func() (err error) { out.Trash, err = ParseTrash(a.Trash); return })
	set("auth", a.Auth, func() (err error) { out.Auth, err = auth.ParseMechanism(a.Auth); return })
	set("keep_deleted", a.KeepDeleted, func() (err error) { out.KeepDeleted, err = ParseAge(a.KeepDeleted); return })
	set("since", a.Since, func() (err error) { out.Since, err = ParseDate(a.Since); return })
	set("before", a.Before, func() (err error) { out.Before, err = ParseDate(a.Before); return })
	set("larger", a.Larger, func() (err error) { out.Larger, err = ParseSize(a.Larger); return })
	set("smaller", a.Smaller, func() (err error) { out.Smaller, err = ParseSize(a.Smaller); return })
	set("refused", a.Refused, func() (err error) { out.Refused, err = ParseRefused(a.Refused); return })
	set("gmail", a.Gmail, func() (err error) { out.Gmail, err = ParseGmail(a.Gmail); return })
	set("limit_rate", a.LimitRate, func() (err error) { out.LimitRate, err = ParseRate(a.LimitRate); return })
	set("limit_day_up", a.LimitDayUp, func() (err error) { out.LimitDayUp, err = ParseDayLimit(a.LimitDayUp); return })
	set("limit_day_down", a.LimitDayDown, func() (err error) { out.LimitDayDown, err = ParseDayLimit(a.LimitDayDown); return })
	if first != nil {
		return nil, first
	}
	if err := a.resolveMixed(out, base, env); err != nil {
		return nil, err
	}
	return out, nil
}

// resolveMixed does the keys that are not plain texts.
func (a *account) resolveMixed(out *Account, base string, env Environment) (err error) {
	if a.Server == "" && a.Provider == "" {
		return atKey("server", usage("", `server = "imaps://imap.example.org", or provider = "gmail"`, "is missing"))
	}
	if out.Tunnel, err = command(a.Tunnel, env); err != nil {
		return atKey("tunnel", err)
	}
	if out.Server.User == "" && out.Tunnel == nil {
		return atKey("user", usage("", `user = "me@example.org"`, "is missing"))
	}
	if a.Connections != nil {
		if out.Connections, err = CheckConnections(*a.Connections); err != nil {
			return atKey("connections", err)
		}
	}
	if _, err := ParsePatterns(a.Mailboxes); err != nil {
		return atKey("mailboxes", err)
	}
	if out.LimitMessages, err = pace(a.LimitMessages); err != nil {
		return atKey("limit_messages", err)
	}
	if a.Fix != nil {
		words, err := textOrList(a.Fix)
		if err == nil {
			out.Fix, err = ParseFix(words)
		}
		if err != nil {
			return atKey("fix", err)
		}
	}
	if out.ToServer, err = operations(a.ToServer); err != nil {
		return atKey("to_server", err)
	}
	if out.ToMaildir, err = operations(a.ToMaildir); err != nil {
		return atKey("to_maildir", err)
	}
	pins, err := textOrList(a.TLSPin)
	if err != nil {
		return atKey("tls_pin", err)
	}
	for _, text := range pins {
		pin, err := ParsePin(text)
		if err != nil {
			return atKey("tls_pin", err)
		}
		out.TLSPins = append(out.TLSPins, pin)
	}
	if a.MaxDelete != nil {
		if out.MaxDelete, err = ParseBound(strconv.Itoa(*a.MaxDelete)); err != nil {
			return atKey("max_delete", err)
		}
	}
	if out.AllowPlaintext && out.Server.Scheme == "imaps" {
		return atKey("allow_plaintext", usage("", "write imap:// for a server without TLS", "does not go with imaps://"))
	}
	if out.Monitor, err = a.watched.resolve(base, env); err != nil {
		return err
	}
	if a.Password != nil {
		if out.Password, err = a.Password.resolve(base, env); err != nil {
			return atKey("password", err)
		}
	}
	return nil
}

// preset takes in what the provider's name stands for.
func (a *account) preset(out *Account, env Environment) error {
	server, err := env.preset(a.Provider)
	if err != nil {
		return err
	}
	out.Provider = strings.ToLower(a.Provider)
	switch {
	case a.Server != "":
		return nil
	case server == "":
		return usage("", `add server = "imaps://mail.example.org"`, "%q has no server that all its users share", a.Provider)
	}
	out.Server, err = ParseServer(server)
	return err
}

// preset finds what a provider's name stands for.
func (env Environment) preset(name string) (server string, err error) {
	var all []string
	if env.Preset != nil {
		var ok bool
		if server, ok, all = env.Preset(name); ok {
			return server, nil
		}
	}
	hint := "one of " + strings.Join(all, ", ")
	if near := Nearest(name, all); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return "", usage("", hint, "no provider %q is known", name)
}

// ServerOf is the account of a user at a provider. Errors name what was written.
func ServerOf(provider, user string, env Environment) (*Account, error) {
	out := &Account{}
	a := &account{Provider: provider}
	err := a.preset(out, env)
	if err == nil {
		err = checkUser(user)
	} else if server, unknown := env.preset(provider); unknown == nil && server == "" {
		mail.AsError(err).Hint = fmt.Sprintf("write imaps://%s@mail.example.org, with the name of your server", escapeUser(user))
	}
	if err != nil {
		return nil, atKey(provider+":"+user, err)
	}
	out.Server.User = user
	return out, nil
}

// setUser puts user where the address left it open.
func (a *Account) setUser(user string) error {
	if a.Server.User != "" && a.Server.User != user {
		return usage("", "", "is %q, and server says %q", user, a.Server.User)
	}
	if err := checkUser(user); err != nil {
		return err
	}
	a.Server.User = user
	return nil
}

func (p *password) resolve(base string, env Environment) (auth.Source, error) {
	argv, err := command(p.Command, env)
	if err != nil {
		return auth.Source{}, err
	}
	src := auth.Source{Command: argv, Env: p.Env, Value: p.Value}
	if p.File != "" {
		if src.File, err = expand(p.File, base, env); err != nil {
			return auth.Source{}, err
		}
	}
	n := 0
	for _, set := range []bool{argv != nil, p.File != "", p.Env != "", !p.Value.IsZero(), p.Prompt} {
		if set {
			n++
		}
	}
	if n != 1 {
		return auth.Source{}, usage("", `such as { command = ["pass", "show", "mail"] }`,
			"takes exactly one of command, file, env, value and prompt")
	}
	return src, nil
}

// atKey puts the name of a key before an error.
func atKey(key string, err error) error {
	e := *mail.AsError(err)
	e.Op = key
	return &e
}

func textOrList(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var list []string
		for _, item := range v {
			text, ok := item.(string)
			if !ok {
				return nil, usage("", "", "a list of texts is wanted")
			}
			list = append(list, text)
		}
		return list, nil
	}
	return nil, usage("", "", "a text or a list of texts is wanted")
}

// pace is given as a number or a text; 0 when the key is absent.
func pace(v any) (float64, error) {
	switch v := v.(type) {
	case nil:
		return 0, nil
	case string:
		return ParsePace(v)
	case int64, float64:
		return ParsePace(fmt.Sprint(v))
	}
	return 0, usage("", "", "a number is wanted")
}

// operations are given as one word or a list of words; nil when the key is absent.
func operations(v any) (*Operations, error) {
	words, err := textOrList(v)
	if err != nil || v == nil {
		return nil, err
	}
	return ParseOperations(words)
}

// command is an argv, given as a list or as a command line.
func command(v any, env Environment) ([]string, error) {
	if line, ok := v.(string); ok {
		return SplitCommand(line, env)
	}
	argv, err := textOrList(v)
	if err != nil {
		return nil, err
	}
	if v != nil && (len(argv) == 0 || argv[0] == "") {
		return nil, usage("", "", "names no program")
	}
	return expandWords(argv, env), nil
}

// SplitCommand is auth.SplitCommand, with "~/" at the start of a word made the
// home directory.
func SplitCommand(line string, env Environment) ([]string, error) {
	argv, err := auth.SplitCommand(line)
	return expandWords(argv, env), err
}

func expandWords(words []string, env Environment) []string {
	for i, w := range words {
		if rest, ok := strings.CutPrefix(w, "~/"); ok && env.Home != "" {
			words[i] = filepath.Join(env.Home, rest)
		}
	}
	return words
}

// ExpandPath makes a path absolute: "~" and $HOME are the home directory, and a
// relative path starts at base.
func ExpandPath(path, base string, env Environment) (string, error) {
	return expand(path, base, env)
}

func expand(path, base string, env Environment) (string, error) {
	if strings.ContainsRune(path, 0) {
		return "", usage("path", "", "holds a NUL")
	}
	for _, prefix := range []string{"~", "$HOME", "${HOME}"} {
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok || rest != "" && !strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, string(filepath.Separator)) {
			continue
		}
		if env.Home == "" {
			return "", usage("path "+path, "set HOME", "there is no home directory")
		}
		return filepath.Join(env.Home, rest), nil
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	return filepath.Join(base, path), nil
}

// CheckConnections checks a number of connections.
func CheckConnections(n int) (int, error) {
	if n < 1 || n > MaxConnections {
		return 0, usage("connections", "", "%d is not between 1 and %d", n, MaxConnections)
	}
	return n, nil
}
