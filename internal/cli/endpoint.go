package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"postbag/internal/config"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
)

// endpoint is one argument that names a place: an account of the configuration,
// a server, or a Maildir tree. For a server account holds nothing but the
// address.
type endpoint struct {
	account *config.Account // nil for a Maildir tree
	maildir string          // absolute; that of the account, "" when it has none
}

// isServer reports whether the endpoint can be connected to.
func (e endpoint) isServer() bool { return e.account != nil }

// endpoints reads arguments. The configuration is loaded when it is first
// needed.
type endpoints struct {
	env    *Env
	path   string
	loaded *config.Config
	watch  *watch
}

func (s *session) endpoints(o *options) *endpoints {
	return &endpoints{env: s.env, path: o.config, watch: &s.watch}
}

func (e *endpoints) config() (*config.Config, error) {
	if e.loaded != nil {
		return e.loaded, nil
	}
	c, err := config.Load(e.path, e.env.config())
	if err != nil {
		return nil, err
	}
	e.loaded = c
	e.watch.configured(c)
	return c, nil
}

// parse reads one argument: an address, "maildir:PATH", the name of an account,
// or the path of a directory.
func (e *endpoints) parse(arg string) (endpoint, error) {
	switch {
	case arg == "":
		return endpoint{}, usageError("argument", "", "is empty")
	case isServer(arg):
		return e.server(arg)
	case strings.HasPrefix(arg, "maildir:"), strings.ContainsAny(arg, `/\~`), arg == ".", arg == "..":
		return e.maildir(arg)
	}
	c, err := e.config()
	if err != nil {
		return endpoint{}, err
	}
	a, err := c.Account(arg)
	if err == nil {
		return endpoint{a, a.Maildir}, nil
	}
	if at, _ := e.env.absolute(arg); at != "" {
		if info, statErr := os.Stat(at); statErr == nil && info.IsDir() {
			return endpoint{maildir: at}, nil
		}
	}
	if strings.Contains(arg, "@") {
		return endpoint{}, e.noServer(arg, mail.AsError(err))
	}
	return endpoint{}, err
}

// noServer says how the server of an address is written that was taken for the name
// of an account.
func (e *endpoints) noServer(arg string, err *mail.Error) error {
	provider, user, ok := strings.Cut(arg, ":")
	if ok {
		_, err := config.ServerOf(provider, user, e.env.config())
		return err
	}
	err.Hint = fmt.Sprintf("a server is written imaps://%s", arg)
	if preset := imapstore.PresetFor(arg); preset != "" {
		err.Hint = fmt.Sprintf("its server is written %s:%s", preset, arg)
	}
	return err
}

// isServer reports whether an argument has the form of a server's address, or is a
// provider's name with a user, "gmail:me@example.org".
func isServer(arg string) bool {
	provider, user, ok := strings.Cut(arg, ":")
	if ok && user != "" && !strings.HasPrefix(user, "//") {
		_, known, _ := imapstore.FindPreset(provider)
		return known
	}
	return config.IsURL(arg)
}

// server reads an address.
func (e *endpoints) server(arg string) (endpoint, error) {
	if !config.IsURL(arg) {
		provider, user, _ := strings.Cut(arg, ":")
		a, err := config.ServerOf(provider, user, e.env.config())
		return endpoint{account: a}, err
	}
	server, err := config.ParseServer(arg)
	if err != nil {
		return endpoint{}, err
	}
	return endpoint{account: &config.Account{Server: server}}, nil
}

// maildir reads the path of a tree.
func (e *endpoints) maildir(arg string) (endpoint, error) {
	path := strings.TrimPrefix(arg, "maildir:")
	if path == "" {
		return endpoint{}, usageError(arg, "", "names no directory")
	}
	at, err := e.env.absolute(path)
	return endpoint{maildir: filepath.Clean(at)}, err
}

// pairs reads the arguments of a command that works on accounts, or on one
// server and one Maildir tree. Without arguments all accounts are meant.
func (e *endpoints) pairs(command string, args []string) ([]endpoint, error) {
	if len(args) > 0 && isServer(args[0]) {
		if len(args) != 2 {
			return nil, usageError(command, fmt.Sprintf("postbag %s SERVER MAILDIR", command), "a server needs one Maildir beside it")
		}
		server, err := e.server(args[0])
		if err != nil {
			return nil, err
		}
		if isServer(args[1]) {
			return nil, usageError(command, "from server to server is another command's work", "the second argument is no Maildir: %s", config.RedactURL(args[1]))
		}
		tree, err := e.maildir(args[1])
		if err != nil {
			return nil, err
		}
		server.maildir = tree.maildir
		return []endpoint{server}, nil
	}
	c, err := e.config()
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		args = c.Names()
		if len(args) == 0 {
			what := "SERVER MAILDIR"
			if command == "status" || command == "prune" {
				what = "MAILDIR"
			}
			return nil, usageError(command, fmt.Sprintf("postbag %s %s, or write accounts into %s", command, what, c.Path), "there is no account")
		}
	}
	var list []endpoint
	seen := map[string]bool{}
	for _, arg := range args {
		one, err := e.parse(arg)
		if err != nil {
			return nil, err
		}
		if !one.isServer() {
			return nil, usageError(command, fmt.Sprintf("postbag %s SERVER MAILDIR", command), "%s is a Maildir, where an account or a server is wanted", arg)
		}
		if one.maildir == "" {
			return nil, usageError("account "+arg, fmt.Sprintf("add maildir = \"...\" to it in %s", c.Path), "has no Maildir")
		}
		if !seen[arg] {
			list = append(list, one)
		}
		seen[arg] = true
	}
	return list, nil
}
