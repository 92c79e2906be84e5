package auth

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Terminal makes the Ask of a System: it shows the prompt on out and reads one
// line without echo from in, which is a terminal. When ctx ends the terminal
// gets its echo back at once; the read itself cannot be stopped and is left
// behind, as the process is about to end.
func Terminal(in *os.File, out io.Writer) func(ctx context.Context, prompt string) (string, error) {
	return func(ctx context.Context, prompt string) (string, error) {
		fd := int(in.Fd())
		before, err := term.GetState(fd)
		if err != nil {
			return "", err
		}
		if _, err := fmt.Fprint(out, prompt); err != nil {
			return "", err
		}
		type answer struct {
			text []byte
			err  error
		}
		done := make(chan answer, 1)
		go func() {
			text, err := term.ReadPassword(fd)
			done <- answer{text, err}
		}()
		defer fmt.Fprintln(out)
		select {
		case a := <-done:
			return string(a.text), a.err
		case <-ctx.Done():
			term.Restore(fd, before)
			return "", ctx.Err()
		}
	}
}
