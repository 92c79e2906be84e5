package auth

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"postbag/internal/mail"
)

// Bounds on reading a secret.
const (
	// Patience is how long a source may take. It is long because a command may
	// ask its own question (a passphrase, a touch of a token).
	Patience = 60 * time.Second
	// MaxSecret is the size of the longest secret, in octets.
	MaxSecret = 64 << 10
	// tokenLife is for how long an OAuth token is used again without asking its
	// source. Sources refresh a token when it is about to end, and the shortest
	// lives of them are minutes.
	tokenLife = 5 * time.Minute
)

// Source says where a secret is kept. At most one field is set; the zero Source
// asks at the terminal.
type Source struct {
	Command []string // argv of a program that prints it
	File    string   // a file that holds it
	Env     string   // the name of an environment variable
	Value   Secret   // the secret itself, from the configuration
}

// IsZero reports whether the source is the terminal.
func (s Source) IsZero() bool {
	return len(s.Command) == 0 && s.File == "" && s.Env == "" && s.Value.IsZero()
}

// String names the source without the secret: "password command gpg".
func (s Source) String() string {
	switch {
	case len(s.Command) > 0:
		return "password command " + s.Command[0]
	case s.File != "":
		return "password file " + s.File
	case s.Env != "":
		return "environment variable " + s.Env
	case !s.Value.IsZero():
		return "password of the configuration"
	}
	return "password"
}

// System is what a Source may use of the world around it.
type System struct {
	LookupEnv func(name string) (string, bool)
	// Ask asks the user at a terminal without echo. It is nil when stdin is not a
	// terminal: then nobody can be asked.
	Ask func(ctx context.Context, prompt string) (string, error)
	// Inherit runs password commands within our own terminal session, so that
	// they can ask the user. It is set when stdin is a terminal.
	Inherit bool
	// Patience replaces the constant of that name; 0 leaves it.
	Patience time.Duration
}

// Read reads the secret. prompt is what the terminal shows. Of the text that a
// source gives, one newline at the end is taken off, nothing else; a text that
// is empty, too long, or that holds NUL, CR or LF is refused. Errors are
// *mail.Error of KindUsage and never hold the secret.
func (s Source) Read(ctx context.Context, sys System, prompt string) (Secret, error) {
	patience := sys.Patience
	if patience == 0 {
		patience = Patience
	}
	var text string
	var err error
	switch {
	case len(s.Command) > 0:
		text, err = s.runCommand(ctx, sys, patience)
	case s.File != "":
		text, err = readFile(s.File, patience)
	case s.Env != "":
		text, err = s.lookup(sys)
	case !s.Value.IsZero():
		text = s.Value.Reveal()
	case sys.Ask == nil:
		return Secret{}, &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: "password",
			Err:  fmt.Errorf("stdin is not a terminal, so that nobody can be asked for it"),
			Hint: "give --password-command, --password-file or --password-env, or password = { ... } in the configuration"}
	default:
		text, err = sys.Ask(ctx, prompt)
		if err != nil && ctx.Err() != nil {
			return Secret{}, ctx.Err()
		}
	}
	if err != nil {
		return Secret{}, s.fail(err)
	}
	if text, err = clean(text); err != nil {
		return Secret{}, s.fail(err)
	}
	return NewSecret(text), nil
}

// fail makes err an *mail.Error that names the source, unless it is one.
func (s Source) fail(err error) error {
	if e, ok := err.(*mail.Error); ok {
		e.Op = s.String()
		return e
	}
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: s.String(), Err: err}
}

func (s Source) lookup(sys System) (string, error) {
	text, ok := sys.LookupEnv(s.Env)
	if !ok {
		return "", fmt.Errorf("is not set")
	}
	return text, nil
}

// clean takes one newline off the end and refuses what no server can be sent.
func clean(text string) (string, error) {
	if cut, ok := strings.CutSuffix(text, "\n"); ok {
		text = strings.TrimSuffix(cut, "\r")
	}
	switch {
	case text == "":
		return "", fmt.Errorf("gave nothing")
	case len(text) > MaxSecret:
		return "", fmt.Errorf("gave more than %d octets", MaxSecret)
	case strings.ContainsAny(text, "\r\n"):
		return "", &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage,
			Err:  fmt.Errorf("gave more than one line"),
			Hint: "make it give the password alone, on one line"}
	case strings.ContainsRune(text, 0):
		return "", fmt.Errorf("gave a NUL octet, which no password may hold")
	}
	return text, nil
}

// runCommand runs the command without a shell and answers with what it printed.
func (s Source) runCommand(ctx context.Context, sys System, patience time.Duration) (string, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(limited, s.Command[0], s.Command[1:]...)
	stdout, stderr := &capped{max: MaxSecret + 2}, &capped{max: 4 << 10}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = time.Second // a grandchild may keep the pipes open
	prepare(cmd, sys.Inherit)
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case limited.Err() != nil:
		return "", fmt.Errorf("gave no answer within %v", patience)
	case stdout.over:
		return "", fmt.Errorf("gave more than %d octets", MaxSecret)
	case err != nil:
		return "", commandError(err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// commandError adds the last line that the command wrote to stderr, unless it
// repeats what the command printed: a script under "set -x" shows secrets.
func commandError(err error, stdout, stderr string) error {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	last := lines[len(lines)-1]
	secret := strings.TrimSpace(stdout)
	if last == "" || secret != "" && strings.Contains(stderr, secret) {
		return err
	}
	return fmt.Errorf("%w: %s", err, last)
}

// capped is a buffer that keeps the first max octets and swallows the rest, so
// that the writer does not block.
type capped struct {
	bytes.Buffer
	max  int
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	room := c.max - c.Len()
	if len(p) > room {
		c.over = true
		c.Buffer.Write(p[:room])
		return len(p), nil
	}
	return c.Buffer.Write(p)
}

// Once reads src when it is first asked and answers with the same secret from
// then on, to any number of callers at once; with token set, for some minutes,
// since tokens end. Only a success is kept. The answers are plain strings: the
// last step before the wire.
func Once(src Source, sys System, prompt string, token bool, now func() time.Time) func(context.Context) (string, error) {
	var mu sync.Mutex
	var kept Secret
	var read time.Time
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if !kept.IsZero() && (!token || now().Sub(read) < tokenLife) {
			return kept.Reveal(), nil
		}
		secret, err := src.Read(ctx, sys, prompt)
		if err != nil {
			return "", err
		}
		kept, read = secret, now()
		return secret.Reveal(), nil
	}
}
