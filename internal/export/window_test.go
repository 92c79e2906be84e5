package export

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"postbag/internal/mail"
	"postbag/maildir"
)

// fewLooks fails the listings of a mailbox that never come to an end.
type fewLooks struct {
	mail.Store
	left int
}

func (s *fewLooks) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	mb, err := s.Store.Examine(ctx, name)
	return &fewLooksBox{mb, s}, err
}

type fewLooksBox struct {
	mail.Mailbox
	s *fewLooks
}

func (b *fewLooksBox) Changes(ctx context.Context, since mail.Cursor, known mail.Known, limit int) (mail.Delta, error) {
	if b.s.left--; b.s.left < 0 {
		return mail.Delta{}, errors.New("the listing has no end")
	}
	return b.Mailbox.Changes(ctx, since, known, limit)
}

// A mailbox that has more messages than are listed at a time is written once, and all
// of it.
func TestLargeMailbox(t *testing.T) {
	t.Parallel()
	root, total := t.TempDir(), window+3
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range total {
		text := fmt.Sprintf("Message-ID: <%d@example.org>\n\nn\n", i)
		if err := os.WriteFile(filepath.Join(root, "cur", fmt.Sprintf("%d.M1P1.host:2,S", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := maildir.Open(root, maildir.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	report, err := Run(t.Context(), Options{Store: &fewLooks{s, 5}, Format: Tar, Out: filepath.Join(t.TempDir(), "out.tar"), Progress: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Boxes) != 1 || report.Boxes[0].Messages != total || len(report.Problems) > 0 {
		t.Errorf("got %+v, want %d messages", report, total)
	}
}
