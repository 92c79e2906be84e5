package e2e

import (
	"crypto/sha256"
	"io"
	"slices"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// Every hostile message arrives octet for octet, with its flags, keywords and
// date, and the digest of what went over the wire can be proved again from the
// file alone.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	samples := demo.Torture()
	e := imaptest.StartEmbedded(t, slices.Values(samples))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	want := imaptest.Dump{"INBOX": {}, demo.TortureMailbox: {}}
	for _, m := range e.Account.Messages(demo.TortureMailbox) {
		box := want[demo.TortureMailbox]
		box.Messages = append(box.Messages, imaptest.Entry{Flags: m.Flags, Date: filed(m.Date), Size: int64(len(m.Raw)), Digest: sha256.Sum256(m.Raw)})
		want[demo.TortureMailbox] = box
	}
	if n := want.Count(); n != len(samples) {
		t.Fatalf("the server holds %d messages, want %d", n, len(samples))
	}
	a.sameAs(t, want)
	checkProof(t, a, len(samples))
	a.checkNoop(t)
}

// filed is a date as a file can have it: file systems count in 32 bits, unsigned.
func filed(at time.Time) time.Time {
	if at.Unix() < 0 {
		return time.Unix(0, 0)
	}
	if last := time.Unix(1<<32-1, 0); at.After(last) {
		return last
	}
	return at
}

// checkProof has the program prove all of the tree again, from the files and from
// the server.
func checkProof(t *testing.T, a *account, messages int) {
	t.Helper()
	for _, args := range [][]string{{"verify", a.dir, "--json"}, a.pair("verify", "--deep", "--json")} {
		c := a.run(t, args...).want(t, 0)
		if v := c.summary(t).Verified; v.Messages != messages || v.Findings != 0 {
			t.Errorf("verified %+v, want %d messages\n%s", v, messages, c)
		}
	}
	a.checkState(t)
}

// What a real server keeps of the same set arrives as the server has it: some of
// it the server itself has changed.
func TestHostileMessagesOfDovecot(t *testing.T) {
	t.Parallel()
	for _, storage := range []bool{false, true} {
		dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{Maildir: storage})
		user := dovecot.NewUser()
		samples := slices.DeleteFunc(demo.Torture(), func(s demo.Sample) bool { return !demo.DateSafe(s.Date) })
		n := dovecot.Fill(user, slices.Values(samples))
		a := onDovecot(t, dovecot, user)
		a.backup(t).want(t, 0)
		server := dovecot.Target(user).MustDump(t)
		if server.Count() != n || n < 80 {
			t.Fatalf("the server holds %d messages of %d", server.Count(), n)
		}
		a.sameAs(t, server)
		checkProof(t, a, n)
		a.checkNoop(t)
	}
}

// Messages that are twins by every header, and copies of one another, stay as
// many as they are.
func TestTwins(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, func(yield func(demo.Sample) bool) {
		for i := range 30 {
			raw := []byte("Message-ID: <one@example.org>\r\nSubject: twin\r\n\r\nsame\r\n")
			if i%3 == 0 {
				raw[len(raw)-3] = byte('a' + i)
			}
			s := demo.Sample{Mailbox: []string{"INBOX", "Copies"}[i%2], Raw: raw, Date: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}
			if !yield(s) {
				return
			}
		}
	})
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	server := e.Target().MustDump(t)
	a.sameAs(t, server)
	a.checkNoop(t)
	for _, m := range e.Account.Messages("INBOX")[:3] {
		if err := e.Account.SetFlags("INBOX", m.UID, mail.Flags{System: mail.Seen}); err != nil {
			t.Fatal(err)
		}
	}
	a.backup(t).want(t, 0)
	a.sameAs(t, e.Target().MustDump(t))
	checkProof(t, a, 30)
}

// A message of 100 MB passes through without a place in memory, and so does one
// that is a single line.
func TestLargeMessages(t *testing.T) {
	t.Parallel()
	const size = 100 << 20
	raw, err := io.ReadAll(demo.Large(size))
	if err != nil {
		t.Fatal(err)
	}
	line := []byte("Subject: one line\r\n\r\n")
	for len(line) < 20<<20 {
		line = append(line, "0123456789abcdef"...)
	}
	date := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	e := imaptest.StartEmbedded(t, slices.Values([]demo.Sample{
		{Mailbox: "INBOX", Raw: raw, Date: date},
		{Mailbox: "INBOX", Raw: []byte("Subject: small\r\n\r\nbeside it\r\n"), Date: date},
		{Mailbox: "INBOX", Raw: line, Date: date},
	}))
	a := onTarget(t, e.Target())
	a.runMeasured(t, a.pair("backup")...).want(t, 0)
	a.sameAs(t, e.Target().MustDump(t))
	a.runMeasured(t, a.pair("verify", "--deep")...).want(t, 0)
	a.checkNoop(t)
}
