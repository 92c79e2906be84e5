package e2e

import (
	"testing"

	"postbag/internal/imaptest"
)

// filled is a pair of sides that agree, with flags on some messages.
func filled(t testing.TB) (*twoWay, imaptest.Dump) {
	t.Helper()
	w := newTwoWay(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
	if _, err := w.target.Fill(brief("kept", 60, "INBOX", "Work/Old", "Trash")); err != nil {
		t.Fatal(err)
	}
	must(t, w.server.in("INBOX", `UID STORE 3:9 +FLAGS.SILENT (\Flagged \Seen Kept)`))
	must(t, w.server.in("Work/Old", `UID STORE 2:5 +FLAGS.SILENT (\Answered Other)`))
	w.sync(t).want(t, 0)
	return w, w.agree(t)
}

// same fails the test when the account does not hold what it did.
func same(t testing.TB, want, got imaptest.Dump) {
	t.Helper()
	if diff := imaptest.Diff(want.Content(), got.Content()); diff != "" {
		t.Errorf("it is not as it was (- before, + now):\n%s", clip(diff))
	}
}

// A message that is back in the Maildir before a sync, and back on the server by
// other means, is one message.
func TestRestoreOfWhatIsBackAlready(t *testing.T) {
	t.Parallel()
	w, before := filled(t)
	entry := before["INBOX"].Messages[3]
	var raw []byte
	for _, m := range readTree(t, w.dir, true)["INBOX"] {
		if m.Digest == entry.Digest {
			raw = m.raw
		}
	}
	must(t, w.server.remove("INBOX", entry.UID))
	w.sync(t).want(t, 0)
	must(t, w.server.deliver("INBOX", raw, entry.Flags, entry.Date))
	w.trashed(t, "restore", "--all").want(t, 0)
	w.sync(t).want(t, 0)
	same(t, before, w.settled(t))
}

// What was put back into a mirror, and then comes back on the server, is one message.
func TestRestoreIntoAMirrorOfWhatComesBack(t *testing.T) {
	t.Parallel()
	w, before := filled(t)
	entry := before["INBOX"].Messages[4]
	var raw []byte
	for _, m := range readTree(t, w.dir, true)["INBOX"] {
		if m.Digest == entry.Digest {
			raw = m.raw
		}
	}
	must(t, w.server.remove("INBOX", entry.UID))
	w.backup(t, "--mirror").want(t, 0)
	w.trashed(t, "restore", "--all").want(t, 0)
	w.backup(t, "--mirror").want(t, 0)
	must(t, w.server.deliver("INBOX", raw, entry.Flags, entry.Date))
	w.backup(t, "--mirror").want(t, 0)
	if diff := imaptest.Diff(before.Content(), treeDump(t, w.dir).Content()); diff != "" {
		t.Errorf("with the message on the server again the Maildir is not as it was:\n%s", clip(diff))
	}
	w.verify(t).want(t, 0)
}
