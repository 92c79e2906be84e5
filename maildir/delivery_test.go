package maildir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"postbag/internal/mail"
)

func TestDelivery(t *testing.T) {
	t.Parallel()
	s := openNewIn(t, t.TempDir(), Options{})
	m := selected(t, s, "Work/Projects")
	date := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	keys := deliver(t, m,
		outgoing{body: sampleMessage(1), date: date},
		outgoing{body: sampleMessage(2), date: date, flags: `\Seen \Flagged`},
		outgoing{body: sampleMessage(3), flags: `\Seen $Forwarded Work $Junk`},
		outgoing{body: sampleMessage(4), flags: `Work`},
	)
	box := boxPath(s, "Work", "Projects")
	if got, want := files(t, box, "new"), []string{keys[0]}; !slices.Equal(got, want) {
		t.Errorf("new/ holds %q, want %q", got, want)
	}
	want := []string{keys[1] + ":2,FS", keys[2] + ":2,PSabc", keys[3] + ":2,b"}
	slices.Sort(want)
	if got := files(t, box, "cur"); !slices.Equal(got, want) {
		t.Errorf("cur/ holds %q, want %q", got, want)
	}
	if got := files(t, box, "tmp"); len(got) > 0 {
		t.Errorf("tmp/ holds %q", got)
	}
	if got, err := os.ReadFile(filepath.Join(box, keywordFile)); string(got) != "0 $Junk\n1 Work\n2 $Forwarded\n" {
		t.Errorf("keywords file %q, %v", got, err)
	}
	d := changes(t, m, "", rows{})
	for _, msg := range d.New {
		i := slices.Index(keys, msg.Ref.Key)
		if wantFlags := []string{"", `\Flagged \Seen`, `\Seen $Forwarded $Junk Work`, "Work"}[i]; !msg.Flags.Equal(mail.ParseFlags(strings.Fields(wantFlags)...)) {
			t.Errorf("message %d has the flags %q, want %q", i, msg.Flags, wantFlags)
		}
		if i < 2 && !msg.Date.Equal(date) {
			t.Errorf("message %d has the date %v, want %v", i, msg.Date, date)
		}
	}
	for key, body := range contents(t, m) {
		if i := slices.Index(keys, key); body != sampleMessage(i+1) {
			t.Errorf("message %d came back as %q", i, body)
		}
	}
	for _, key := range keys {
		if len(key) > 80 || !isOwnKey(key) {
			t.Errorf("key %q", key)
		}
	}
}

func TestDeliveryChecksTheLength(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	for _, size := range []int64{4, 6} {
		_, err := b.Add(t.Context(), mail.Message{Size: size}, strings.NewReader("a\r\nbc"))
		e := mail.AsError(err)
		if e == nil || e.Scope != mail.ScopeMessage || e.Kind != mail.KindIntegrity {
			t.Errorf("size %d: error %+v, want one of message scope", size, e)
		}
	}
	broken := errors.New("line lost")
	_, err = b.Add(t.Context(), mail.Message{Size: -1}, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || mail.AsError(err).Scope != mail.ScopeMessage {
		t.Errorf("a broken body gives %v, want %v of message scope", err, broken)
	}
	p, err := b.Add(t.Context(), mail.Message{Size: -1}, strings.NewReader("a\r\nbc"))
	if err != nil || p.Message.Size != 5 {
		t.Fatalf("Add after failures: %+v, %v", p, err)
	}
	if got, want := files(t, boxPath(s, "INBOX", "tmp")), []string{p.Ref.Key}; !slices.Equal(got, want) {
		t.Errorf("tmp/ holds %q, want %q", got, want)
	}
	b.Abort()
	if got := files(t, boxPath(s, "INBOX", "tmp")); len(got) != 0 {
		t.Errorf("after Abort tmp/ holds %q", got)
	}
	if _, err := b.Commit(t.Context(), []mail.Pending{p}); err == nil {
		t.Error("Commit after Abort succeeds")
	}
}

func TestDeliveryClampsDates(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	dates := []time.Time{time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), {}}
	for i, date := range dates {
		key := deliver(t, m, outgoing{body: "x", date: date})[0]
		st, err := os.Stat(boxPath(s, "INBOX", "new", key))
		if err != nil {
			t.Fatal(err)
		}
		got := st.ModTime()
		if want := []int64{0, 1<<32 - 1, time.Now().Unix()}[i]; got.Unix() < want-60 || got.Unix() > want {
			t.Errorf("date %v stored as %v", date, got)
		}
	}
}

func TestModesWhateverTheUmask(t *testing.T) {
	// Not parallel: the umask belongs to the process.
	for _, mask := range []int{0, 0o022, 0o077, 0o377} {
		root := filepath.Join(t.TempDir(), "mail")
		restore := setUmask(mask)
		s, err := Open(root, Options{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		m := selected(t, s, "A/B")
		deliver(t, m, outgoing{body: "x\r\n", flags: `\Seen Word`}, outgoing{body: "y"})
		keys := deliver(t, m, outgoing{body: "z"})
		if _, err := m.Remove(t.Context(), []mail.Ref{{Key: keys[0]}}); err != nil {
			t.Error(err)
		}
		restore()
		err = filepath.WalkDir(s.path, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			want := os.FileMode(0o600)
			if d.IsDir() {
				want = 0o700
			}
			if info.Mode().Perm() != want {
				t.Errorf("umask %o: %s has mode %v, want %v", mask, path, info.Mode(), want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestDeliveryNeverReplaces(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	p, err := b.Add(t.Context(), outgoing{body: "ours\r\n"}.message(), strings.NewReader("ours\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, "theirs", s.path, "INBOX", "new", p.Ref.Key)
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	landed, err := b.Commit(t.Context(), []mail.Pending{p})
	if err != nil || landed[0].Err == nil {
		t.Fatalf("Commit over a file: %+v, %v", landed, err)
	}
	if got, err := os.ReadFile(boxPath(s, "INBOX", "new", p.Ref.Key)); string(got) != "theirs" {
		t.Errorf("the file that was there holds %q, %v", got, err)
	}
}

func TestRecover(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var pending []mail.Pending
	bodies := []string{"in tmp\r\n", "delivered\n", "damaged\r\n", "gone\r\n", "no digest\r\n", "short\r\n", "seen\r\r\n"}
	for i, body := range bodies {
		msg := outgoing{body: body, flags: []string{"", "", "", "", "", "", `\Seen Word`}[i]}.message()
		p, err := b.Add(t.Context(), msg, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	tmp := boxPath(s, "INBOX", "tmp")
	if err := os.Rename(filepath.Join(tmp, pending[1].Ref.Key), boxPath(s, "INBOX", "cur", pending[1].Ref.Key+":2,FS")); err != nil {
		t.Fatal(err)
	}
	put(t, "damagEd\n", tmp, pending[2].Ref.Key)
	os.Remove(filepath.Join(tmp, pending[3].Ref.Key))
	pending[4].Message.ID.Digest = mail.Digest{}
	os.Truncate(filepath.Join(tmp, pending[5].Ref.Key), 3)
	foreign := put(t, "other", tmp, "1.M1P1.host")
	young := put(t, "x", tmp, "1700000000.0123456789abcdef0123.postbag")

	landed, err := m.Recover(t.Context(), pending, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false, false, false, false, true} {
		if got := !landed[i].Ref.IsZero(); got != want || landed[i].Err != nil {
			t.Errorf("%q: landed %+v, want %v", bodies[i], landed[i], want)
		}
	}
	for _, n := range changes(t, m, "", rows{}).New {
		if want := `\Seen Word`; n.Ref == pending[6].Ref && n.Flags.String() != want {
			t.Errorf("%q has the flags %q, want %q", bodies[6], n.Flags, want)
		}
	}
	got := contents(t, m)
	for i, p := range pending {
		if body, is := got[p.Ref.Key]; is != !landed[i].Ref.IsZero() || is && body != bodies[i] {
			t.Errorf("%q is in the mailbox: %v, as %q", bodies[i], is, body)
		}
	}
	if got, want := files(t, tmp), []string{filepath.Base(foreign), filepath.Base(young)}; !slices.Equal(got, want) {
		t.Errorf("tmp/ holds %q, want %q", got, want)
	}
	// 36 hours later what nobody waits for is removed, but not what is not ours.
	s.opts.Now = func() time.Time { return time.Now().Add(37 * time.Hour) }
	if again, err := m.Recover(t.Context(), pending, nil); err != nil || !slices.Equal(again, landed) {
		t.Errorf("a second Recover gives %+v, %v", again, err)
	}
	if got, want := files(t, tmp), []string{filepath.Base(foreign)}; !slices.Equal(got, want) {
		t.Errorf("after 37 hours tmp/ holds %q, want %q", got, want)
	}
}
