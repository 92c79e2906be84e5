package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"postbag/internal/auth"
)

// Env is all that a command sees of the world beside the files and servers it
// is told to work on.
type Env struct {
	Stdin          io.Reader // nil: there is nothing in it
	Stdout, Stderr io.Writer
	LookupEnv      func(name string) (string, bool)
	Environ        func() []string // for hooks; nil for that of this process
	Home           string          // the home directory; "" when there is none
	Dir            string          // the working directory
	Now            func() time.Time
	// Signals gets the signals that end a run: the first one gently, the second
	// at once. nil when there are none.
	Signals <-chan os.Signal
	// Ask asks for a password without echo; nil when stdin is not a terminal.
	Ask func(ctx context.Context, prompt string) (string, error)
	// StdoutTTY and StderrTTY say which of the streams is a terminal.
	StdoutTTY, StderrTTY bool
	Width                func() int // columns of the terminal behind stderr
	Version              string
	Built                time.Time // of the source it was built from; zero when that is not known
	// LimitMemory tells the garbage collector how much to aim at; nil leaves it alone.
	LimitMemory func(bytes int64)
}

// limitMemory is LimitMemory of this process, where GOMEMLIMIT says nothing.
func limitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}

// What archives are written with: so much at least, and so much for each message, as
// the garbage collector would do nothing else if there were less.
const (
	archiveMemory  = 44 << 20
	memoryAMessage = 500
)

// holds tells the garbage collector of messages of which each takes so much.
func (s *session) holds(messages int, each int64) {
	if s.env.LimitMemory != nil {
		s.env.LimitMemory(max(archiveMemory, int64(messages)*each))
	}
}

// System is the Env of this process. It takes over the signals.
func System() Env {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A reader of stdout that goes away must not kill a run halfway: with this,
	// writes fail instead. It is no signal.Ignore, which children would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	home, _ := os.UserHomeDir() // "" is what Env says for none
	dir, _ := os.Getwd()
	env := Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, LookupEnv: os.LookupEnv, Home: home, Dir: dir, Now: time.Now, Signals: signals,
		StdoutTTY: term.IsTerminal(int(os.Stdout.Fd())),
		StderrTTY: term.IsTerminal(int(os.Stderr.Fd())),
		Width: func() int {
			width, _, err := term.GetSize(int(os.Stderr.Fd()))
			if err != nil {
				return 0
			}
			return width
		},
		Version: version(), Built: built(), LimitMemory: limitMemory,
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		env.Ask = auth.Terminal(os.Stdin, os.Stderr)
	}
	return env
}

// utf8 reports whether the terminal shows UTF-8, as the locale has it.
func (env *Env) utf8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v, _ := env.LookupEnv(name); v != "" {
			return strings.Contains(strings.ReplaceAll(strings.ToLower(v), "-", ""), "utf8")
		}
	}
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin" // have it whatever the locale
}

// canDraw reports whether the terminal behind stderr can take back what it shows.
func (env *Env) canDraw() bool {
	term, _ := env.LookupEnv("TERM")
	return env.StderrTTY && term != "dumb" && (term != "" || runtime.GOOS == "windows")
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v += " " + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return v
}

// built is the time of the commit that the program was built from.
func built() time.Time {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				t, _ := time.Parse(time.RFC3339, s.Value) // zero when it is none
				return t
			}
		}
	}
	return time.Time{}
}
