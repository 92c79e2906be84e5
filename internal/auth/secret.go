// Package auth gets passwords and OAuth tokens from where the user keeps them:
// a command, a file, an environment variable, the configuration, or the
// terminal. It knows nothing of servers. A secret is read when it is asked for,
// within a bounded time, and is never written anywhere.
package auth

import (
	"fmt"
	"io"
	"log/slog"
)

// masked is all that a Secret ever prints.
const masked = "***"

// Secret is a password or a token. However it is printed, encoded or logged, it
// comes out as "***". The zero Secret is empty.
//
// The text hangs on a pointer: package fmt does not call the methods of a value
// in an unexported field, but prints what it finds there, and of a pointer it
// finds the address only.
type Secret struct{ text *string }

// NewSecret makes a Secret of s.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal is the secret itself, for the one place that sends it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether no secret is held.
func (s Secret) IsZero() bool { return s.text == nil }

// String is "***".
func (s Secret) String() string { return masked }

// GoString is "***".
func (s Secret) GoString() string { return masked }

// Format prints "***" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, masked) }

// MarshalText is "***", and so is the JSON form.
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// UnmarshalText takes the secret in, as a configuration file holds it.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// LogValue is "***".
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }
