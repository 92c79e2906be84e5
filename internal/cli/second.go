package cli

import (
	"strings"

	"github.com/urfave/cli/v2"

	"postbag/internal/auth"
	"postbag/internal/config"
)

// toPrefix begins the flags of the second server of a command that has two.
const toPrefix = "to-"

// secondFlags are those of the second server: the flags of a server with "to-"
// before them.
func secondFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "to-password-command", Category: catTo, Usage: "the second server's password is what `COMMAND` prints"},
		&cli.StringFlag{Name: "to-password-file", Category: catTo, Usage: "the second server's password is in `FILE`"},
		&cli.StringFlag{Name: "to-password-env", Category: catTo, Usage: "the second server's password is in the environment variable `NAME`"},
		&cli.StringFlag{Name: "to-auth", Category: catTo, Usage: "log in to the second server with `MECHANISM`"},
		&cli.StringFlag{Name: "to-connections", Category: catTo, Usage: "use at most `N` connections to the second server"},
		&cli.StringFlag{Name: "to-tls-ca", Category: catTo, Usage: "trust for the second server the certificates in `FILE` (PEM) and no others"},
		&cli.StringSliceFlag{Name: "to-tls-pin", Category: catTo, Usage: "accept only a second server whose public key has this `SHA256`; may be repeated"},
		&cli.BoolFlag{Name: "to-allow-plaintext", Category: catTo, Usage: "do without TLS to the second server (imap:// only)"},
	}
}

const catTo = "Second server"

// readSecond parses the flags of the second server: with them an account is made
// the second one.
func readSecond(c *cli.Context, env *Env) (*options, error) {
	o := &options{plaintext: c.Bool(toPrefix + "allow-plaintext")}
	cfg := env.config()
	var first error
	var passwords []string
	text := func(flag string, parse func(string) error) {
		name := toPrefix + flag
		if first != nil || !c.IsSet(name) {
			return
		}
		if strings.HasPrefix(flag, "password") {
			if passwords = append(passwords, "--"+name); len(passwords) > 1 {
				first = usageError(passwords[0], "", "does not go with %s", passwords[1])
				return
			}
		}
		value := c.String(name)
		if value == "" {
			first = usageError("--"+name, "", "the value is empty")
		} else if err := parse(value); err != nil {
			first = atFlag(name, err)
		}
	}
	path := func(flag string, to *string) {
		text(flag, func(s string) (err error) { *to, err = config.ExpandPath(s, env.Dir, cfg); return })
	}
	path("tls-ca", &o.tlsCA)
	text("auth", func(s string) (err error) { o.mechanism, err = auth.ParseMechanism(s); return })
	text("password-command", func(s string) (err error) { o.password.Command, err = auth.SplitCommand(s); return })
	path("password-file", &o.password.File)
	text("password-env", func(s string) error { o.password.Env = s; return nil })
	text("connections", func(s string) (err error) { o.connections, err = parseConnections(s); return })
	for _, pin := range c.StringSlice(toPrefix + "tls-pin") {
		sum, err := config.ParsePin(pin)
		if err != nil && first == nil {
			first = atFlag(toPrefix+"tls-pin", err)
		}
		o.tlsPins = append(o.tlsPins, sum)
	}
	return o, first
}
