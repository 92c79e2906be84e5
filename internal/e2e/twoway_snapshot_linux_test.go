package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"postbag/internal/imaptest"
)

// rewind is an account whose both sides, and the state, can be put back to where
// they were, so that the same sync can be disturbed in one way after another.
type rewind struct {
	*twoWay
	dovecot *imaptest.Dovecot
	mail    string // the server's files of the account
	kept    string // copies of both sides
}

// keep remembers both sides as they are now. No other account of the server may
// be in use.
func keep(t testing.TB, dovecot *imaptest.Dovecot, w *twoWay) *rewind {
	t.Helper()
	r := &rewind{twoWay: w, dovecot: dovecot, mail: dovecot.Home(w.target.User), kept: scratch(t)}
	r.hangUp(t)
	duplicate(t, r.mail, filepath.Join(r.kept, "server"))
	duplicate(t, r.dir, filepath.Join(r.kept, "maildir"))
	return r
}

// hangUp ends all sessions, which could still write something.
func (r *rewind) hangUp(t testing.TB) {
	t.Helper()
	must(t, r.server.Close())
	r.dovecot.KillSessions()
	r.server = &imapActor{}
}

// back puts both sides back.
func (r *rewind) back(t testing.TB) {
	t.Helper()
	r.dovecot.KillSessions()
	for from, to := range map[string]string{"server": r.mail, "maildir": r.dir} {
		must(t, os.RemoveAll(to))
		duplicate(t, filepath.Join(r.kept, from), to)
	}
	r.log.Reset()
}

// resume lets the other client go on.
func (r *rewind) resume(t testing.TB) {
	t.Helper()
	r.server.Client, r.server.selected = client(t, r.target), ""
}

// duplicate copies a tree with everything that belongs to it, its owners too.
func duplicate(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}
