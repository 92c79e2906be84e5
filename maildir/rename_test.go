package maildir

import (
	"fmt"
	"slices"
	"testing"

	"postbag/internal/mail"
)

// A mailbox gets the name of a directory that has mailboxes in it and is none itself, also
// one of those below it. Without power in the middle, whatever was not synced lost or kept,
// doing it again ends where doing it once ends: each mailbox is the one that it was.
func TestRenameOntoADirectory(t *testing.T) {
	t.Parallel()
	mem := newMemFS()
	s := &scene{fs: mem}
	store := s.open(t, mem, true)
	for _, name := range []string{"B", "B/A", "B/A/x", "B/D", "C/A/y", "C/D/z", "C/z"} {
		deliver(t, selected(t, store, name), outgoing{body: "in " + name})
	}
	want := identities(t, store)
	for _, name := range []string{"", "/A", "/A/x", "/D"} {
		want["C"+name] = want["B"+name]
		delete(want, "B"+name)
	}
	base := mem.clone()
	mem.log = nil
	if err := store.Rename(t.Context(), "B", "C"); err != nil {
		t.Fatal(err)
	}
	if got := identities(t, store); !mapsEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	states := 0
	for end := 0; end <= len(mem.log); end++ {
		sure := durable(mem.log, end)
		try := func(what string, keep func(i int) bool) {
			states++
			f := mem.crashed(base, func(i int) bool { return sure[i] || keep(i) }, end)
			again := s.open(t, f, false)
			boxes, err := again.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			left := false
			for _, b := range boxes {
				if b.Err != nil {
					t.Errorf("after %d of %d changes, %s: %s: %v", end, len(mem.log), what, b.Name, b.Err)
				}
				left = left || b.Name == "B"
			}
			if left {
				if err := again.Rename(t.Context(), "B", "C"); err != nil {
					t.Errorf("after %d of %d changes, %s: %v", end, len(mem.log), what, err)
				}
			}
			if got := identities(t, again); !mapsEqual(got, want) {
				t.Errorf("after %d of %d changes, %s: got %v, want %v", end, len(mem.log), what, got, want)
			}
		}
		try("all lost", func(int) bool { return false })
		try("all kept", func(int) bool { return true })
		for one := range end {
			if !sure[one] {
				try(fmt.Sprintf("only %d lost", one), func(i int) bool { return i != one })
				try(fmt.Sprintf("only %d kept", one), func(i int) bool { return i == one })
			}
		}
		if t.Failed() {
			for i, r := range mem.log[:end] {
				t.Log(i, r.op, r.set)
			}
			return
		}
	}
	t.Logf("%d changes, %d states", len(mem.log), states)
}

// What both have is not joined, and a mailbox that lost its messages is not replaced.
func TestRenameOntoWhatIsTaken(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	for _, name := range []string{"B/A", "C/A", "B"} {
		deliver(t, selected(t, s, name), outgoing{body: "in " + name})
	}
	before := identities(t, s)
	if err := s.Rename(t.Context(), "B", "C"); err == nil {
		t.Error("two mailboxes are one")
	}
	boxes, err := s.List(t.Context())
	if err != nil || slices.ContainsFunc(boxes, func(b mail.MailboxInfo) bool { return b.Err != nil }) {
		t.Errorf("the tree is damaged: %v, %v", boxes, err)
	}
	if got := identities(t, s); !mapsEqual(got, before) {
		t.Errorf("got %v, want %v", got, before)
	}
	if err := s.Create(t.Context(), "C", ""); err != nil {
		t.Fatal(err)
	}
	if got := identities(t, s); got["C"] == got["B"] || got["C"] == "" {
		t.Errorf("what is made under that name is %q, the other %q", got["C"], got["B"])
	}
}
