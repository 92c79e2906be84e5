package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// corpus is the mail in the folder that POSTBAG_CORPUS names, a message in each file,
// whoever wrote it.
func corpus(t *testing.T) []demo.Sample {
	t.Helper()
	dir := os.Getenv("POSTBAG_CORPUS")
	if dir == "" {
		t.Skip("POSTBAG_CORPUS names no folder with mail")
	}
	var list []demo.Sample
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
		if len(raw) > 0 && err == nil {
			box := pairMailboxes[len(list)%len(pairMailboxes)]
			list = append(list, demo.Sample{Mailbox: box, Raw: raw, Date: time.Unix(1600000000+int64(len(list)), 0)})
		}
		return err
	})
	if err != nil || len(list) == 0 {
		t.Fatalf("%d messages in %s: %v", len(list), dir, err)
	}
	return list
}

// Mail that nobody here wrote comes through a sync and an archive of each form as it is.
func TestCorpus(t *testing.T) {
	t.Parallel()
	mail := corpus(t)
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	source := dovecot.Target(dovecot.NewUser())
	n, err := source.Fill(slices.Values(mail))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages", n)
	w := newTwoWayAt(t, source)
	w.sync(t).want(t, 0)
	w.settled(t)
	w.verify(t, "--deep").want(t, 0)
	for _, form := range archives {
		w.run(t, append([]string{"export", w.dir}, form...)...).want(t, 0)
		dest := "./of/" + form[0]
		w.run(t, "import", form[0], dest).want(t, 0)
		w.run(t, "verify", w.dir, dest, "--deep").want(t, 0)
	}
}

// It goes to each server, once; what that refuses or alters is named.
func TestCorpusElsewhere(t *testing.T) {
	mail := corpus(t)
	eachOtherServer(t, func(t *testing.T, s otherServer, account func(string) imaptest.Target) {
		dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
		source, dest := dovecot.Target(dovecot.NewUser()), account("corpus")
		n, err := source.Fill(slices.Values(mail))
		if err != nil {
			t.Fatal(err)
		}
		m := newMoving(t, source, dest)
		first := m.migrate(t, "--json")
		if first.code != 0 && first.code != 3 {
			t.Fatal(first)
		}
		sum := first.summary(t)
		once := dest.MustDump(t)
		refused := 0
		for _, p := range sum.Problems {
			t.Logf("%s: %+v", s.name, p)
			if p.Kind == "refused" {
				refused++
			}
		}
		if got := once.Count(); got != sum.B.New || got+refused != n {
			t.Errorf("%d of %d messages are there, %d were told, and %d refused", got, n, sum.B.New, refused)
		}
		m.migrate(t, "--json").want(t, first.code).unchanged(t)
		kinds := map[string]int{}
		for _, e := range m.compare(t, "--deep").events(t) {
			if e.Event == "finding" {
				kinds[e.Kind]++
			}
		}
		t.Logf("%s: %v", s.name, kinds)
		if kinds["missing"] != refused || kinds["extra"] > 0 {
			t.Errorf("found %v", kinds)
		}
		m.env = append(m.env, "XDG_STATE_HOME="+scratch(t))
		if lost := m.migrate(t, "--json").summary(t); lost.B.New > kinds["different"] {
			t.Errorf("without the state %d messages were sent again, want at most %d", lost.B.New, kinds["different"])
		}
	})
}
