package config

import (
	"strings"
	"testing"
)

func TestParseTrash(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`\Trash`: `\Trash`, `\trash`: `\Trash`, `\Junk`: `\Junk`, "Trash": "Trash", "Archive/Old mail": "Archive/Old mail",
		"[Gmail]/Trash": "[Gmail]/Trash", "INBOX/Trash": "INBOX/Trash", "Gelöscht": "Gelöscht",
	} {
		if got, err := ParseTrash(text); got != want || err != nil {
			t.Errorf("%s: got %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`\Tarsh`: "there is no role", `\All`: "is a view", `\flagged`: "is a view", "inbox": "INBOX cannot be the trash", "": "cannot be the name",
		"/Trash": "cannot be the name", "Trash/": "cannot be the name", "a//b": "cannot be the name", "a\nb": "cannot be the name", "\xff": "cannot be the name",
	} {
		if got, err := ParseTrash(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
}
