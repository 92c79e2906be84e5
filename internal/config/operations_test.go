package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/mail"
)

func TestParseOperations(t *testing.T) {
	t.Parallel()
	all := Operations{New: true, Flags: true, Deletes: true, Moves: true, Mailboxes: true}
	everything := all
	everything.DeleteMailboxes = true
	for words, want := range map[string]Operations{
		"all": all, "none": {}, "new": {New: true}, "new,flags": {New: true, Flags: true}, " new , moves ": {New: true, Moves: true},
		"all,delete-mailboxes": everything, "mailboxes,deletes": {Deletes: true, Mailboxes: true},
	} {
		got, err := ParseOperations(strings.Split(words, ","))
		if err != nil || *got != want {
			t.Errorf("%q: got %+v, %v; want %+v", words, got, err, want)
		}
	}
	for words, hint := range map[string]string{
		"": "the words are", "flag": `did you mean "flags"?`, "delete": `did you mean "deletes"?`, "none,new": "", "New": `did you mean "new"?`,
	} {
		_, err := ParseOperations(strings.Split(words, ","))
		if err == nil || !strings.Contains(mail.AsError(err).Hint, hint) {
			t.Errorf("%q: got %v with hint %q, want %q in it", words, err, mail.AsError(err).Hint, hint)
		}
	}
	if _, err := ParseOperations(nil); err == nil {
		t.Error("an empty list is taken")
	}
}

// docs/configuration.md explains each word and each preset.
func TestDocumentedOperations(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range append(operationNames(), policies...) {
		if !strings.Contains(string(text), "| `"+word+"` |") {
			t.Errorf("there is no row for %q", word)
		}
	}
}
