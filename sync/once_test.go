package sync_test

import (
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/sync"
)

// Where the other side keeps one of equal messages, the second one stays behind and is
// named, in each run, and nothing is counted as two.
func TestServerThatKeepsOneOfEqualMessages(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.numbered()
	w.store[1].Once = true
	w.store[0].AddBox("INBOX")
	for range 3 {
		w.store[0].Put("INBOX", mail.Flags{}, day, "Message-ID: <a@x>\r\n\r\nequal\r\n")
	}
	w.store[0].Put("INBOX", mail.Flags{}, day, "Message-ID: <b@x>\r\n\r\nother\r\n")
	for range 2 {
		rep, err := w.run(sync.Migrate(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if rep.Outcome != sync.Partial || len(rep.Problems) != 2 || rep.Problems[0].Kind != mail.KindRefused {
			t.Errorf("outcome %s, problems %+v, want two that are refused", rep.Outcome, rep.Problems)
		}
		if n := len(w.store[1].Messages("INBOX")); n != 2 {
			t.Errorf("the other side has %d messages, want 2", n)
		}
	}
}

// In the archive of a server with labels nothing is put back that is there under a
// label; what is in the bin is.
func TestRestoreUnderLabels(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.store[0].EmailIDs, w.store[0].Once = true, true
	w.store[0].Use = map[string]mail.SpecialUse{"All": mail.UseAll, "Bin": mail.UseTrash}
	for _, name := range []string{"All", "Bin", "Work"} {
		w.store[0].AddBox(name)
	}
	for _, content := range []string{"labelled", "binned", "deleted"} {
		w.store[0].Put("All", mail.Flags{}, day, "Message-ID: <"+content+"@x>\r\n\r\n"+content+"\r\n")
	}
	w.mustRun(t, sync.Backup(), nil)
	all := w.store[0].Messages("All")
	w.store[0].MoveMsg("All", all[0].Ref, "Work")
	w.store[0].MoveMsg("All", all[1].Ref, "Bin")
	w.store[0].Del("All", all[2].Ref)
	p := sync.Backup()
	p.May[1].Moves = false // so that the copy of All is as it was
	w.mustRun(t, p, nil)
	w.mustRun(t, sync.Restore(), func(o *sync.Options) { o.Restore = true })
	var got []string
	for _, m := range w.store[0].Messages("All") {
		got = append(got, strings.Fields(string(m.Body))[2])
	}
	if slices.Sort(got); !slices.Equal(got, []string{"binned", "deleted"}) {
		t.Errorf("All holds %q, want what was binned and what was deleted", got)
	}
}
