package e2e

import (
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// While a run is under way nothing is put back or removed for good; what there is
// can be looked at.
func TestTrashIsLocked(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(94, 100))
	a := onTarget(t, e.Target())
	p := a.via(t, e.Target())
	a.backup(t, "--mirror").want(t, 0)
	if err := e.Account.Fill(demo.Corpus(95, 300)); err != nil {
		t.Fatal(err)
	}
	begun := p.Bytes(imaptest.ToClient)
	p.Set(imaptest.Rules{Stall: []imaptest.Stall{{Dir: imaptest.ToClient, After: 20 << 10}}})
	r := a.start(t, a.pair("backup", "--mirror")...)
	flowing(t, p, begun+(20<<10))
	for _, command := range []string{"restore", "empty"} {
		more := []string{}
		if command == "restore" {
			more = append(more, "--all")
		}
		if c := a.trashed(t, command, more...).want(t, 6); !strings.Contains(c.stderr, "another run holds the lock") {
			t.Errorf("got\n%s", c)
		}
	}
	a.trashed(t, "list").want(t, 0)
	_ = r.cmd.Process.Kill()
	r.wait()
	a.trashed(t, "empty").want(t, 0)
	p.Set(imaptest.Rules{})
	a.backup(t, "--mirror").want(t, 0)
	a.sameAs(t, e.Target().MustDump(t))
}
