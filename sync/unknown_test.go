package sync

import (
	"testing"

	"postbag/internal/mail"
)

// A mailbox that cannot be used is not one that is gone, and neither are those
// that it hides. A user saw a directory that could not be read for once, and the
// mailboxes below it were on record as deleted.
func TestUnknownNames(t *testing.T) {
	t.Parallel()
	listed := [2][]mail.MailboxInfo{
		{{Name: "INBOX"}, {Name: "Work"}, {Name: "Work/A"}, {Name: "Old"}, {Name: "Old/B"}},
		{{Name: "INBOX"}, {Name: "Old/B"}},
	}
	unknown := unknownNames(listed, [2][]string{nil, {"Work", "Old"}})
	for name, want := range map[string]bool{
		"INBOX": false, "Work": true, "Work/A": true, "Work/A/Deep": true, "Workshop": false, "Old": true, "Old/B": false, "Old/C": true,
	} {
		if got := unknown(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if unknownNames(listed, [2][]string{})("Work") {
		t.Error("without a mailbox that cannot be used something is unknown")
	}
}
