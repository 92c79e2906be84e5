package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "c4nary-Pa55"

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	s := NewSecret(canary)
	type exported struct {
		S Secret
		P *Secret
	}
	type hidden struct{ s Secret }
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T"} {
		for _, value := range []any{s, &s, exported{s, &s}, hidden{s}, &hidden{s}, []Secret{s}, map[string]Secret{"k": s}, []any{hidden{s}}} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	for _, value := range []any{s, &s, exported{s, &s}, hidden{s}, []Secret{s}} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Errorf("json of %T: %v", value, err)
		}
		out.Write(text)
		slog.New(slog.NewTextHandler(&out, nil)).Info("login", "secret", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("login", "secret", value)
	}
	fmt.Fprintln(&out, errors.Join(fmt.Errorf("login: %w", fmt.Errorf("with %v", s))))
	hex := fmt.Sprintf("%x", canary)
	if got := out.String(); strings.Contains(got, canary) || strings.Contains(strings.ToLower(got), hex) {
		t.Errorf("the secret was printed:\n%s", got)
	}
	if got := fmt.Sprint(s); got != "***" {
		t.Errorf("got %q, want ***", got)
	}
	if got := s.Reveal(); got != canary {
		t.Errorf("Reveal: got %q, want %q", got, canary)
	}
	if got := (Secret{}).Reveal(); got != "" || !(Secret{}).IsZero() {
		t.Errorf("zero secret: got %q", got)
	}
}
