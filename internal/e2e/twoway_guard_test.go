package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"postbag/internal/imaptest"
)

// What looks like an accident on either side is not carried to the other: nothing
// is removed on any side until somebody says that it is meant.
func TestTwoWayGuard(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		accident func(t testing.TB, w *twoWay)
		gone     int // messages that it removes
	}{
		{"all files removed", func(t testing.TB, w *twoWay) {
			for _, list := range readTree(t, w.dir, false) {
				for _, m := range list {
					must(t, removeFile(m))
				}
			}
		}, 90},
		{"one mailbox emptied", func(t testing.TB, w *twoWay) {
			for _, m := range readTree(t, w.dir, false)["Work"] {
				must(t, removeFile(m))
			}
		}, 30},
		{"cur replaced", func(t testing.TB, w *twoWay) {
			for _, sub := range []string{"cur", "new"} {
				dir := filepath.Join(w.dir, "INBOX", sub)
				must(t, os.Rename(dir, filepath.Join(w.home, sub)))
				must(t, os.Mkdir(dir, 0o700))
			}
		}, 30},
		{"all on the server expunged", func(t testing.TB, w *twoWay) {
			for _, box := range []string{"INBOX", "Work", "Archive"} {
				must(t, w.server.in(box, `UID STORE 1:* +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1:*"))
			}
		}, 90},
		{"a mailbox of the server expunged", func(t testing.TB, w *twoWay) {
			must(t, w.server.in("Archive", `UID STORE 1:* +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1:*"))
		}, 30},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, allow := range [][]string{{"--force-deletes"}, {"--max-delete", fmt.Sprint(test.gone)}} {
				w := newTwoWay(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
				if _, err := w.target.Fill(brief("one", 90, "INBOX", "Work", "Archive")); err != nil {
					t.Fatal(err)
				}
				w.sync(t).want(t, 0)
				before := w.agree(t)
				test.accident(t, w)
				server, local := w.target.MustDump(t).String(), snapshotMail(t, w.dir)
				for _, more := range [][]string{nil, {"--max-delete", fmt.Sprint(test.gone - 1)}} {
					w.sync(t, more...).want(t, 4)
					if diff := imaptest.Diff(server, w.target.MustDump(t).String()); diff != "" {
						t.Fatalf("the server was changed:\n%s", diff)
					}
					if diff := imaptest.Diff(local, snapshotMail(t, w.dir)); diff != "" {
						t.Fatalf("the Maildir was changed:\n%s", diff)
					}
				}
				s := w.sync(t, append(allow, "--json")...).want(t, 0).summary(t)
				if s.A.Deleted+s.B.Deleted != test.gone {
					t.Errorf("got %+v and %+v, want %d removed", s.A, s.B, test.gone)
				}
				if left := w.settled(t).Count(); left != before.Count()-test.gone {
					t.Errorf("%d messages are left, want %d", left, before.Count()-test.gone)
				}
			}
		})
	}
}

// A tree that is not there, because its disk is not mounted, is no deletion.
func TestTwoWayTreeThatIsGone(t *testing.T) {
	t.Parallel()
	w := newTwoWay(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
	if _, err := w.target.Fill(brief("one", 9, "INBOX", "Work", "Archive")); err != nil {
		t.Fatal(err)
	}
	w.sync(t).want(t, 0)
	server := w.target.MustDump(t).String()
	must(t, os.Rename(w.dir, w.dir+"-elsewhere"))
	for _, empty := range []bool{false, true} {
		if empty {
			must(t, os.Mkdir(w.dir, 0o700))
		}
		for _, more := range [][]string{nil, {"--force-deletes"}, {"--max-delete", "1000"}} {
			w.sync(t, more...).want(t, 2)
		}
		if entries, err := os.ReadDir(w.dir); err == nil && len(entries) > 0 {
			t.Errorf("something was written: %v", entries)
		}
	}
	if diff := imaptest.Diff(server, w.target.MustDump(t).String()); diff != "" {
		t.Errorf("the server was changed:\n%s", diff)
	}
	must(t, os.Remove(w.dir))
	must(t, os.Rename(w.dir+"-elsewhere", w.dir))
	w.settled(t)
}

// A tree of which the mailboxes are gone, but not its mark, is refused as well.
func TestTwoWayTreeWithoutMailboxes(t *testing.T) {
	t.Parallel()
	w := newTwoWay(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
	if _, err := w.target.Fill(brief("one", 9, "INBOX", "Work", "Archive")); err != nil {
		t.Fatal(err)
	}
	w.sync(t).want(t, 0)
	server := w.target.MustDump(t).String()
	for _, box := range []string{"INBOX", "Work", "Archive"} {
		must(t, os.RemoveAll(filepath.Join(w.dir, box)))
	}
	w.sync(t).want(t, 4)
	w.sync(t, "--force-deletes").want(t, 4)
	if diff := imaptest.Diff(server, w.target.MustDump(t).String()); diff != "" {
		t.Errorf("the server was changed:\n%s", diff)
	}
}
