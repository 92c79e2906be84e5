package imapstore

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// A message that the server cannot give is told with the reason; the others
// come, whatever happens around it.
func TestFetchWhenServerIsOdd(t *testing.T) {
	t.Parallel()
	const body = "Subject: x\r\n\r\nhello\r\n"
	whole := func(uid uint32) string {
		return fmt.Sprintf("* %d FETCH (UID %d FLAGS () INTERNALDATE \"01-Jan-2020 00:00:00 +0000\" BODY[] {%d}\r\n%s)", uid, uid, len(body), body)
	}
	tests := []struct {
		name string
		// odd answers for UID 3; more is what comes instead of the rest, "" to go on.
		odd    func(alone bool) (lines []string, status string)
		kind   mail.Kind // of UID 3's error
		reason string
		comes  bool // UID 3 comes after all
		gone   bool // UID 3 is not there at all
	}{
		{name: "NIL", odd: func(bool) ([]string, string) { return []string{"* 3 FETCH (UID 3 BODY[] NIL)"}, "" }, kind: mail.KindProtocol, reason: "does not give"},
		{name: "nothing", odd: func(bool) ([]string, string) { return nil, "" }, kind: mail.KindProtocol, reason: "does not give"},
		{name: "gone", odd: func(bool) ([]string, string) { return nil, "" }, gone: true},
		{name: "NO", odd: func(bool) ([]string, string) { return nil, "NO [UNAVAILABLE] cannot read it" }, kind: mail.KindRefused, reason: "cannot read it"},
		{name: "BAD", odd: func(bool) ([]string, string) { return nil, "BAD internal error" }, kind: mail.KindRefused, reason: "internal error"},
		{name: "NO, but not alone", odd: func(alone bool) ([]string, string) {
			if alone {
				return []string{whole(3)}, ""
			}
			return nil, "NO try one by one"
		}, comes: true},
		{name: "UID behind the body", odd: func(bool) ([]string, string) {
			return []string{fmt.Sprintf("* 3 FETCH (BODY[] {%d}\r\n%s UID 3)", len(body), body)}, ""
		}, comes: true},
		{name: "another message's", odd: func(bool) ([]string, string) { return []string{whole(88)}, "" }, kind: mail.KindProtocol, reason: "does not give"},
		{name: "twice", odd: func(bool) ([]string, string) { return []string{whole(3), whole(3)}, "" }, comes: true},
		{name: "part of it", odd: func(bool) ([]string, string) {
			return []string{"* 3 FETCH (UID 3 BODY[HEADER] {2}\r\nx\n)"}, ""
		}, kind: mail.KindProtocol, reason: "does not give"},
		{name: "hostile literal", odd: func(bool) ([]string, string) {
			return []string{"* 3 FETCH (UID 3 BODY[] {99999999999999999999}"}, "hang up"
		}, kind: mail.KindProtocol, reason: "does not give"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, caps: "UIDPLUS"}
			s.answer = func(command string) (lines []string, status string) {
				if !strings.HasPrefix(command, "UID FETCH") {
					return nil, ""
				}
				uids := setOf(t, command)
				for _, uid := range uids {
					switch {
					case uid > 5 || uid == 3 && test.gone:
					case !strings.Contains(command, "BODY.PEEK"):
						lines = append(lines, fmt.Sprintf("* %d FETCH (UID %d FLAGS ())", uid, uid))
					case uid != 3:
						lines = append(lines, whole(uid))
					default:
						odd, end := test.odd(len(uids) == 1)
						lines = append(lines, odd...)
						if end != "" {
							return lines, end
						}
					}
				}
				return lines, "OK done"
			}
			m, err := s.start(nil).Examine(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			var got []uint32
			var reason *mail.Error
			err = m.Fetch(t.Context(), refsOf(1, 2, 3, 4, 5, 6), func(f mail.Fetched) error {
				if f.Err != nil {
					reason = f.Err
					if f.Ref.UID != 3 || f.Err.Ref.UID != 3 || f.Err.Scope != mail.ScopeMessage {
						t.Errorf("got %+v for %v", f.Err, f.Ref)
					}
					return nil
				}
				text, err := io.ReadAll(f.Body)
				if err != nil || string(text) != body {
					t.Errorf("%v: got %q, %v", f.Ref, text, err)
				}
				got = append(got, f.Ref.UID)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want := []uint32{1, 2, 4, 5}
			if test.comes {
				want = []uint32{1, 2, 3, 4, 5}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			switch {
			case test.reason == "" && reason != nil:
				t.Errorf("got %v, want no error", reason)
			case test.reason != "" && (reason == nil || reason.Kind != test.kind || !strings.Contains(reason.Error(), test.reason)):
				t.Errorf("got %v, want %q", reason, test.reason)
			}
			if n := len(s.said("UID FETCH")); n > 12 {
				t.Errorf("got %d commands: %q", n, s.said("UID FETCH"))
			}
		})
	}
}

// When nothing comes at all, it is not the messages' fault.
func TestFetchWhenNothingComes(t *testing.T) {
	t.Parallel()
	s := &script{t: t}
	s.answer = func(command string) (lines []string, status string) {
		if !strings.HasPrefix(command, "UID FETCH") {
			return nil, ""
		}
		if strings.Contains(command, "BODY.PEEK") {
			return nil, "NO disk failure"
		}
		for _, uid := range setOf(t, command) {
			lines = append(lines, fmt.Sprintf("* %d FETCH (UID %d FLAGS ())", uid, uid))
		}
		return lines, "OK"
	}
	m, err := s.start(nil).Examine(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	var refs []mail.Ref
	for uid := uint32(1); uid <= 100; uid++ {
		refs = append(refs, mail.Ref{UID: uid})
	}
	n := 0
	err = m.Fetch(t.Context(), refs, func(mail.Fetched) error { n++; return nil })
	if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeMailbox || n > fetchFailures {
		t.Errorf("got %v after %d messages, want an error of the mailbox after %d", err, n, fetchFailures)
	}
}

func knownUIDs(n uint32) *knownMap {
	k := newKnown()
	for uid := uint32(1); uid <= n; uid++ {
		k.flags[uid] = mail.Flags{}
	}
	return k
}

// Answers that cannot all be true delete nothing.
func TestChangesWhenServerContradictsItself(t *testing.T) {
	t.Parallel()
	all := "* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS ())\r\n* 3 FETCH (UID 3 FLAGS ())"
	tests := []struct {
		name     string
		caps     string
		selected []string
		fetch    string
		search   string
		cursor   string
		gone     []mail.Ref
		settled  bool
	}{
		{name: "OK and nothing", selected: selected(3, 6), cursor: "v=9 n=6 m=0"},
		{name: "OK and nothing, with SEARCH", caps: "CONDSTORE", selected: append(selected(3, 6), "* OK [HIGHESTMODSEQ 8] x"), cursor: "v=9 n=6 m=8", search: "* SEARCH"},
		{name: "some", selected: selected(4, 6), fetch: all, cursor: "v=9 n=6 m=0"},
		{name: "all that there are", selected: selected(3, 6), fetch: all, cursor: "v=9 n=6 m=0", gone: refsOf(4, 5), settled: true},
		{name: "no EXISTS", selected: selected(3, 6)[2:], fetch: all, search: "* SEARCH 1 2 3", cursor: "v=9 n=6 m=0"},
		{name: "empty", selected: selected(0, 6), search: "* SEARCH", cursor: "v=9 n=6 m=0", gone: refsOf(1, 2, 3, 4, 5), settled: true},
		{name: "empty, and does not say so twice", selected: selected(0, 6), search: "* SEARCH 1", cursor: "v=9 n=6 m=0"},
		{name: "sequence numbers for UIDs", selected: selected(3, 6), fetch: "* 1 FETCH (FLAGS ())\r\n* 2 FETCH (FLAGS ())\r\n* 3 FETCH (FLAGS ())", cursor: "v=9 n=6 m=0"},
		{name: "one of them twice", selected: selected(3, 6), fetch: "* 1 FETCH (UID 1 FLAGS ())\r\n* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS ())", cursor: "v=9 n=6 m=0"},
		{name: "lying VANISHED", caps: "CONDSTORE QRESYNC ENABLE", selected: append(selected(5, 6), "* OK [HIGHESTMODSEQ 9] x"), cursor: "v=9 n=6 m=8",
			fetch: all + "\r\n* 4 FETCH (UID 4 FLAGS ())\r\n* 5 FETCH (UID 5 FLAGS ())\r\n* VANISHED (EARLIER) 1:4294967295", search: "* SEARCH 1 2 3 4 5", settled: true},
		{name: "SEARCH tells more than EXISTS", caps: "CONDSTORE", selected: append(selected(3, 7), "* OK [HIGHESTMODSEQ 8] x"), cursor: "v=9 n=7 m=8", search: "* SEARCH 1 2 3 6"},
		{name: "NOMODSEQ", caps: "CONDSTORE", selected: append(selected(3, 6), "* OK [NOMODSEQ] x"), fetch: all, cursor: "v=9 n=6 m=8", gone: refsOf(4, 5), settled: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, caps: test.caps}
			s.answer = func(command string) ([]string, string) {
				switch {
				case strings.HasPrefix(command, "EXAMINE"):
					return test.selected, "OK"
				case strings.HasPrefix(command, "UID FETCH") && test.fetch != "":
					return []string{test.fetch}, "OK"
				case strings.HasPrefix(command, "UID SEARCH") && test.search != "":
					return []string{test.search}, "OK"
				}
				return nil, ""
			}
			m, err := s.start(nil).Examine(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			d, err := m.Changes(t.Context(), mail.Cursor(test.cursor), knownUIDs(5), 100)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(d.Gone, test.gone) || (d.Unsettled == "") != test.settled {
				t.Errorf("got gone %v, unsettled %q, want %v", d.Gone, d.Unsettled, test.gone)
			}
			if len(d.New) > 0 {
				t.Errorf("got new messages %v", d.New)
			}
			if d.Unsettled != "" && d.Stamp != "" {
				t.Errorf("got stamp %q", d.Stamp)
			}
		})
	}
}

func TestChangesWhenNToStarAnswersTheLast(t *testing.T) {
	t.Parallel()
	s := &script{t: t}
	s.answer = func(command string) ([]string, string) {
		switch {
		case strings.HasPrefix(command, "EXAMINE"): // no UIDNEXT: "n:*" is all there is to ask
			return []string{"* 5 EXISTS", "* OK [UIDVALIDITY 9] x"}, "OK"
		case strings.HasPrefix(command, "UID FETCH 6:"):
			return []string{"* 5 FETCH (UID 5 FLAGS (\\Seen))"}, "OK"
		case strings.HasPrefix(command, "UID FETCH"):
			var lines []string
			for uid := 1; uid <= 5; uid++ {
				lines = append(lines, fmt.Sprintf("* %d FETCH (UID %d FLAGS ())", uid, uid))
			}
			return lines, "OK"
		}
		return nil, ""
	}
	m, err := s.start(nil).Examine(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.Changes(t.Context(), "v=9 n=6 m=0", knownUIDs(5), 100)
	if err != nil || !d.Empty() || d.Unsettled != "" || d.Cursor != "v=9 n=6 m=0" {
		t.Errorf("got %+v, %v, want nothing", d, err)
	}
}

func TestMailboxWithoutUIDValidity(t *testing.T) {
	t.Parallel()
	s := &script{t: t}
	s.answer = func(command string) ([]string, string) {
		switch {
		case strings.HasPrefix(command, "EXAMINE"):
			return []string{"* 5 EXISTS", "* OK [UIDVALIDITY 0] x"}, "OK"
		case strings.HasPrefix(command, "STATUS INBOX"), strings.HasPrefix(command, `STATUS "INBOX"`):
			return []string{"* STATUS INBOX (MESSAGES 5 UIDNEXT 6 UIDVALIDITY 0)"}, "OK"
		}
		return nil, ""
	}
	store := s.start(nil)
	infos, err := store.List(t.Context())
	if err != nil || len(infos) != 2 || infos[0].Err == nil || infos[1].Err != nil {
		t.Errorf("got %+v, %v, want an error of INBOX alone", infos, err)
	}
	_, err = store.Examine(t.Context(), "INBOX")
	if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeMailbox || !strings.Contains(err.Error(), "UIDVALIDITY") {
		t.Errorf("got %v", err)
	}
}

// uploadAll commits bodies to INBOX.
func uploadAll(t *testing.T, store *Store, flags mail.Flags, bodies ...string) ([]mail.Landed, error) {
	t.Helper()
	m, err := store.Select(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	var pending []mail.Pending
	for _, body := range bodies {
		pending = append(pending, add(t, b, mail.Message{Flags: flags}, []byte(body)))
	}
	return b.Commit(t.Context(), pending)
}

func TestUploadWhenServerIsOdd(t *testing.T) {
	t.Parallel()
	const one, two = "Message-ID: <1@x>\r\n\r\none\r\n", "Message-ID: <2@x>\r\n\r\ntwo\r\n"
	arrivals := func(uids ...int) (lines []string) {
		for i, uid := range uids {
			lines = append(lines, fmt.Sprintf("* %d FETCH (UID %d FLAGS () RFC822.SIZE %d BODY[HEADER.FIELDS (MESSAGE-ID)] {21}\r\nMessage-ID: <%d@x>\r\n\r\n)", uid, uid, len(one), i+1))
		}
		return lines
	}
	tests := []struct {
		name    string
		replies []string // to the APPENDs, of the last message the last
		there   []string // what FETCH lists
		want    []uint32
		errs    []mail.Kind // of messages, KindOther for none
		err     mail.Kind   // of Commit
		appends int
	}{
		{name: "good", replies: []string{"OK [APPENDUID 9 6] x", "OK [APPENDUID 9 7] x"}, want: []uint32{6, 7}},
		{name: "no APPENDUID", replies: []string{"OK", "OK"}, there: arrivals(8, 9), want: []uint32{8, 9}},
		{name: "another UIDVALIDITY", replies: []string{"OK [APPENDUID 8 6] x", "OK [APPENDUID 6 9] x"}, there: arrivals(6, 7), want: []uint32{6, 7}},
		{name: "an old UID", replies: []string{"OK [APPENDUID 9 5] x", "OK [APPENDUID 9 0] x"}, there: arrivals(6, 7), want: []uint32{6, 7}},
		{name: "one UID twice", replies: []string{"OK [APPENDUID 9 6] x", "OK [APPENDUID 9 6] x"}, there: arrivals(6, 7), want: []uint32{6, 7}},
		{name: "no numbers", replies: []string{"OK [APPENDUID 9 6:7] x", "OK [APPENDUID x y] x"}, there: arrivals(6, 7), want: []uint32{6, 7}},
		{name: "OK and not there", replies: []string{"OK [APPENDUID 9 6] x", "OK"}, want: []uint32{6, 0}, errs: []mail.Kind{0, mail.KindProtocol}},
		{name: "too big", replies: []string{"NO [TOOBIG] x", "OK [APPENDUID 9 6] x"}, want: []uint32{0, 6}, errs: []mail.Kind{mail.KindTooLarge, 0}},
		{name: "refused", replies: []string{"NO virus", "OK [APPENDUID 9 6] x"}, want: []uint32{0, 6}, errs: []mail.Kind{mail.KindRefused, 0}},
		{name: "BAD", replies: []string{"BAD [CLIENTBUG] x", "OK [APPENDUID 9 6] x"}, want: []uint32{0, 6}, errs: []mail.Kind{mail.KindProtocol, 0}},
		{name: "identical", replies: []string{"NO [LIMIT] Too many identical emails", "OK [APPENDUID 9 6] x"}, want: []uint32{0, 6}, errs: []mail.Kind{mail.KindRefused, 0}},
		{name: "full", replies: []string{"OK [APPENDUID 9 6] x", "NO [OVERQUOTA] full"}, want: []uint32{6, 0}, errs: []mail.Kind{0, mail.KindQuota}},
		{name: "throttled", replies: []string{"NO [THROTTLED] later"}, err: mail.KindThrottled},
		{name: "mailbox gone", replies: []string{"NO [TRYCREATE] none"}, err: mail.KindGone},
		{name: "lost", replies: []string{"OK [APPENDUID 9 6] x", "hang up"}, want: []uint32{6, 0}, err: mail.KindUnreachable},
	}
	for _, test := range tests {
		for _, caps := range []string{"UIDPLUS LITERAL+", ""} {
			t.Run(test.name+" "+caps, func(t *testing.T) {
				t.Parallel()
				s := &script{t: t, caps: caps}
				s.answer = func(command string) ([]string, string) {
					switch {
					case strings.HasPrefix(command, "APPEND"):
						if strings.Contains(command, "<2@x>") {
							return nil, test.replies[len(test.replies)-1]
						}
						return nil, test.replies[0]
					case strings.HasPrefix(command, "UID FETCH"):
						return test.there, "OK"
					}
					return nil, ""
				}
				landed, err := uploadAll(t, s.start(nil), mail.Flags{}, one, two)
				if (err != nil) != (test.err != 0) || err != nil && mail.AsError(err).Kind != test.err {
					t.Errorf("got %v, want kind %d", err, test.err)
				}
				if len(landed) != 2 {
					t.Fatalf("got %d answers", len(landed))
				}
				for i, uid := range test.want {
					if landed[i].Ref.UID != uid {
						t.Errorf("message %d: got %+v, want UID %d", i, landed[i], uid)
					}
				}
				for i := range landed {
					want := mail.KindOther
					if test.errs != nil {
						want = test.errs[i]
					}
					if got := landed[i].Err; (got != nil) != (want != 0) || got != nil && (got.Kind != want || got.Scope != mail.ScopeMessage) {
						t.Errorf("message %d: got %+v, want kind %d", i, got, want)
					}
				}
			})
		}
	}
}

// Flags that a provider mishandles at APPEND are stored afterwards.
func TestUploadToGmail(t *testing.T) {
	t.Parallel()
	s := &script{t: t, caps: "UIDPLUS X-GM-EXT-1"}
	s.answer = func(command string) ([]string, string) {
		switch {
		case strings.HasPrefix(command, "APPEND"):
			return nil, "OK [APPENDUID 9 6] x"
		case strings.HasPrefix(command, "UID FETCH"):
			return []string{`* 6 FETCH (UID 6 FLAGS (\Seen \Deleted))`}, "OK"
		}
		return nil, ""
	}
	landed, err := uploadAll(t, s.start(nil), mail.ParseFlags(`\Seen`, `\Deleted`), "x\r\n")
	if err != nil || landed[0].Ref.UID != 6 {
		t.Fatal(landed, err)
	}
	if got := s.said("APPEND"); len(got) != 1 || !strings.Contains(got[0], `(\Seen)`) || strings.Contains(got[0], "Deleted") {
		t.Errorf("got %q", got)
	}
	if got, want := s.said("UID STORE"), []string{`UID STORE 6 +FLAGS.SILENT (\Deleted)`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAppendLimit(t *testing.T) {
	t.Parallel()
	s := &script{t: t, caps: "APPENDLIMIT=10"}
	m, err := s.start(nil).Select(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{11, -1} {
		_, err = b.Add(t.Context(), mail.Message{Size: size}, strings.NewReader("hello world"))
		if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeMessage || e.Kind != mail.KindTooLarge {
			t.Errorf("got %v, want that the message is too large", err)
		}
	}
	if _, err := b.Add(t.Context(), mail.Message{Size: 10}, bytes.NewReader(make([]byte, 10))); err != nil {
		t.Error(err)
	}
	b.Abort()
}

// A server that says OK and does nothing is not believed.
func TestWritesThatWereIgnored(t *testing.T) {
	t.Parallel()
	for _, caps := range []string{"UIDPLUS MOVE", "UIDPLUS", "MOVE"} {
		t.Run(caps, func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, caps: caps}
			s.answer = func(command string) (lines []string, status string) {
				if !strings.HasPrefix(command, "UID FETCH") {
					return nil, ""
				}
				for _, uid := range setOf(t, command) {
					if uid <= 5 {
						lines = append(lines, fmt.Sprintf("* %d FETCH (UID %d FLAGS () RFC822.SIZE 5 BODY[HEADER.FIELDS (MESSAGE-ID)] \"\")", uid, uid))
					}
				}
				return lines, "OK"
			}
			m, err := s.start(nil).Select(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			states, err := m.SetFlags(t.Context(), []mail.FlagChange{{Ref: mail.Ref{UID: 1}, Delta: mail.FlagDelta{Add: mail.ParseFlags(`\Seen`)}}})
			if err != nil || len(states) != 1 || !states[0].Flags.IsZero() {
				t.Errorf("got %+v, %v, want that nothing is set", states, err)
			}
			if gone, err := m.Remove(t.Context(), refsOf(1, 2)); err != nil || len(gone) != 0 {
				t.Errorf("got %v, %v, want that nothing is removed", gone, err)
			}
			if moved, err := m.Move(t.Context(), refsOf(1, 2), "b"); err != nil || len(moved) != 0 {
				t.Errorf("got %v, %v, want that nothing moved", moved, err)
			}
			for _, c := range s.said("UID EXPUNGE") {
				if caps == "MOVE" || !strings.HasPrefix(c, "UID EXPUNGE 1:2") {
					t.Errorf("said %q", c)
				}
			}
			if got := s.said("EXPUNGE"); len(got) > 0 {
				t.Errorf("said %q", got)
			}
		})
	}
}

// A message that vanished while others moved did not move.
func TestMoveWhenOneVanishes(t *testing.T) {
	t.Parallel()
	s := &script{t: t, caps: "UIDPLUS MOVE"}
	moved := false
	s.answer = func(command string) ([]string, string) {
		switch {
		case strings.HasPrefix(command, "UID MOVE"):
			moved = true
			return []string{"* OK [COPYUID 9 1 6] moved", "* 1 EXPUNGE", "* 1 EXPUNGE"}, "OK"
		case strings.HasPrefix(command, "UID FETCH") && !moved:
			return []string{"* 1 FETCH (UID 1 FLAGS ())", "* 2 FETCH (UID 2 FLAGS ())"}, "OK"
		}
		return nil, ""
	}
	m, err := s.start(nil).Select(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Move(t.Context(), refsOf(1, 2), "b")
	if want := []mail.Moved{{From: mail.Ref{UID: 1}, To: mail.Ref{UID: 6}}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// A server that refuses a move in the middle has moved what it told of; where it did
// not tell all, the error is not one after which the messages may be copied again.
func TestMoveRefusedInTheMiddle(t *testing.T) {
	t.Parallel()
	one := []mail.Moved{{From: mail.Ref{UID: 1}, To: mail.Ref{UID: 6}}}
	for name, test := range map[string]struct {
		told  []string
		left  []int
		moved []mail.Moved
		kind  mail.Kind
		then  string // the answer to what is asked afterwards
	}{
		"none":            {nil, []int{1, 2}, nil, mail.KindRefused, "OK"},
		"told":            {[]string{"* OK [COPYUID 9 1 6] moved", "* 1 EXPUNGE"}, []int{2}, one, mail.KindRefused, "OK"},
		"told, not moved": {[]string{"* OK [COPYUID 9 1:2 6:7] moved"}, []int{2}, one, mail.KindRefused, "OK"},
		"not told":        {[]string{"* 1 EXPUNGE"}, []int{2}, nil, mail.KindProtocol, "OK"},
		"told of one":     {[]string{"* OK [COPYUID 9 1 6] moved"}, nil, one, mail.KindProtocol, "OK"},
		"no look":         {[]string{"* OK [COPYUID 9 1:2 6:7] moved"}, []int{2}, nil, mail.KindProtocol, "NO [SERVERBUG] x"},
	} {
		for _, caps := range []string{"UIDPLUS MOVE", "MOVE"} {
			t.Run(name+" "+caps, func(t *testing.T) {
				t.Parallel()
				s := &script{t: t, caps: caps}
				left, status := []int{1, 2}, "OK"
				s.answer = func(command string) (lines []string, _ string) {
					switch {
					case strings.HasPrefix(command, "UID MOVE"):
						left, status = test.left, test.then
						return test.told, "NO failed in the middle"
					case strings.HasPrefix(command, "UID FETCH"):
						for _, uid := range left {
							lines = append(lines, fmt.Sprintf("* %d FETCH (UID %d FLAGS ())", uid, uid))
						}
						return lines, status
					}
					return nil, ""
				}
				m, err := s.start(nil).Select(t.Context(), "INBOX")
				if err != nil {
					t.Fatal(err)
				}
				moved, err := m.Move(t.Context(), refsOf(1, 2), "b")
				if e := mail.AsError(err); err == nil || e.Kind != test.kind || e.Scope != mail.ScopeMailbox || !slices.Equal(moved, test.moved) {
					t.Errorf("got %v, %v, want %v and kind %d", moved, err, test.moved, test.kind)
				}
			})
		}
	}
}

// Copies whose UIDs the server does not tell are looked for before the message
// is removed here.
func TestMoveByCopyWithoutCOPYUID(t *testing.T) {
	t.Parallel()
	const describes = "* %d FETCH (UID %d FLAGS () RFC822.SIZE %d BODY[HEADER.FIELDS (MESSAGE-ID)] {21}\r\nMessage-ID: <%d@x>\r\n\r\n)"
	s := &script{t: t, caps: "UIDPLUS"}
	open, expunged := "", false
	s.answer = func(command string) (lines []string, status string) {
		switch {
		case strings.HasPrefix(command, "SELECT"), strings.HasPrefix(command, "EXAMINE"):
			open = command
			return nil, ""
		case strings.HasPrefix(command, "UID EXPUNGE"):
			expunged = true
			return nil, "OK"
		case !strings.HasPrefix(command, "UID FETCH"):
			return nil, ""
		}
		if strings.Contains(open, "b") { // there: only the second one arrived, below an old message
			return []string{fmt.Sprintf(describes, 1, 5, 102, 2), fmt.Sprintf(describes, 2, 6, 102, 2)}, "OK"
		}
		for _, uid := range setOf(t, command) {
			if uid == 1 || uid == 2 && !expunged {
				lines = append(lines, fmt.Sprintf(describes, uid, uid, 100+uid, uid))
			}
		}
		return lines, "OK"
	}
	m, err := s.start(nil).Select(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	moved, err := m.Move(t.Context(), refsOf(1, 2), "b")
	if want := []mail.Moved{{From: mail.Ref{UID: 2}, To: mail.Ref{UID: 6}}}; err != nil || !slices.Equal(moved, want) {
		t.Errorf("got %v, %v, want %v", moved, err, want)
	}
	if got, want := s.said("UID EXPUNGE"), []string{"UID EXPUNGE 2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestListWhenServerIsOdd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		caps  string
		lines []string
		more  map[string][]string // answers to other commands
		want  string
	}{
		{
			name: "STATUS in any order and case", caps: "LIST-EXTENDED LIST-STATUS",
			lines: []string{
				`* STATUS b (MESSAGES 2 UIDVALIDITY 1 UIDNEXT 3)`, `* LIST () "/" INBOX`, `* LIST () "/" b`, `* LIST () "/" c`, `* LIST () "/" b`,
				`* STATUS inbox (MESSAGES 1 UIDVALIDITY 1 UIDNEXT 2)`, `* STATUS C (MESSAGES 4 UIDVALIDITY 1 UIDNEXT 9)`, `* STATUS zzz (MESSAGES 4)`,
			},
			want: "INBOX:1 b:2 c:4",
		},
		{
			name: "STATUS is missing", caps: "LIST-STATUS",
			lines: []string{`* LIST () "/" INBOX`, `* STATUS INBOX (MESSAGES 1 UIDVALIDITY 1 UIDNEXT 2)`, `* LIST () "/" b`},
			want:  "INBOX:1 b:5",
		},
		{
			name: "no STATUS of some mailbox", caps: "",
			lines: []string{`* LIST () "/" INBOX`, `* LIST (\Noselect) "/" n`, `* LIST (\NonExistent) "/" x`},
			more:  map[string][]string{"STATUS": {"NO permission denied"}},
			want:  "INBOX:-1 n:-1! x:-1!",
		},
		{
			name: "LIST-STATUS does not work", caps: "LIST-STATUS SPECIAL-USE",
			more: map[string][]string{`LIST "" "*" RETURN`: {"BAD what"}, `LIST "" "*"`: {`* LIST () "/" INBOX`, "OK"}},
			want: "INBOX:5",
		},
		{
			name: "odd names", caps: "LIST-STATUS",
			lines: []string{
				`* LIST () "/" INBOX`, `* LIST () "/" "A&B"`, "* LIST () \"/\" {4}\r\ncaf\xe9", `* LIST () NIL "x/y"`, `* LIST () "/" ""`, `* LIST () "/" "../z"`,
				"* STATUS {4}\r\ncaf\xe9 (MESSAGES 7 UIDVALIDITY 1)",
			},
			more: map[string][]string{"STATUS": {"NO x"}},
			want: ":-1 ../z:-1 =raw=A&B:-1 =raw=caf=E9:7 INBOX:-1 x%2Fy:-1",
		},
		{
			name: "XLIST", caps: "XLIST",
			more: map[string][]string{"XLIST": {`* XLIST (\Inbox) "/" "Posteingang"`, `* XLIST (\Spam) "/" "Bulk"`, "OK"}},
			want: `Bulk:5(\Junk) INBOX:5`,
		},
		{
			name: "namespaces", caps: "LIST-STATUS NAMESPACE",
			lines: []string{`* LIST () "." INBOX`, `* LIST () "." INBOX.a`, `* LIST () "." INBOX.a.b`, `* LIST (\Noselect) "." user`, `* LIST () "." user.bob`, `* LIST () "." shared.x`},
			more: map[string][]string{
				"NAMESPACE": {`* NAMESPACE (("INBOX." ".")) (("user." ".")) (("shared." "."))`, "OK"}, "STATUS": {"NO x"},
			},
			want: "INBOX:-1 a:-1 a/b:-1",
		},
		{
			name:  "below INBOX without NAMESPACE",
			lines: []string{`* LIST () "." INBOX`, `* LIST () "." INBOX.Sent`},
			want:  `INBOX:5 Sent:5(\Sent)`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, caps: test.caps}
			s.answer = func(command string) ([]string, string) {
				best := ""
				for prefix := range test.more {
					if strings.HasPrefix(command, prefix) && len(prefix) > len(best) {
						best = prefix
					}
				}
				if best != "" {
					lines := test.more[best]
					return lines[:len(lines)-1], lines[len(lines)-1]
				}
				if strings.HasPrefix(command, "LIST") && test.lines != nil {
					return test.lines, "OK"
				}
				return nil, ""
			}
			store := s.start(nil)
			var got []string
			infos, err := store.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, info := range infos {
				text := fmt.Sprintf("%s:%d", info.Name, info.Messages)
				if info.Use != "" {
					text += "(" + string(info.Use) + ")"
				}
				if info.NoSelect {
					text += "!"
				}
				got = append(got, text)
			}
			if text := strings.Join(got, " "); text != test.want {
				t.Errorf("got %q, want %q", text, test.want)
			}
			// What was listed is what is sent.
			for _, info := range infos {
				if info.NoSelect {
					continue
				}
				if _, err := store.Examine(t.Context(), info.Name); err != nil && info.Name != "" {
					t.Errorf("%q: %v", info.Name, err)
				}
			}
		})
	}
}

func TestListWhenThereAreTooMany(t *testing.T) {
	t.Parallel()
	s := &script{t: t, caps: "LIST-STATUS"}
	s.answer = func(command string) ([]string, string) {
		if !strings.HasPrefix(command, "LIST") {
			return nil, ""
		}
		lines := make([]string, maxMailboxes+1)
		for i := range lines {
			lines[i] = fmt.Sprintf(`* LIST () "/" a%d`, i)
		}
		return lines, "OK"
	}
	_, err := s.start(nil).List(t.Context())
	if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeAccount && e.Scope != mail.ScopeMailbox || e.Err != errTooMany {
		t.Errorf("got %v, want that there are too many", err)
	}
}

// With one connection and a server that stops answering, Close and the context
// still end everything.
func TestServerThatStopsAnswering(t *testing.T) {
	t.Parallel()
	s := &script{t: t}
	hang := make(chan struct{})
	defer close(hang)
	s.answer = func(command string) ([]string, string) {
		if strings.HasPrefix(command, "EXAMINE") {
			<-hang
		}
		return nil, ""
	}
	store := s.start(func(c *Config) { c.Connections = 1 })
	if _, err := store.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := store.Examine(t.Context(), "INBOX")
		done <- err
	}()
	for !busy(store) {
		time.Sleep(time.Millisecond)
	}
	store.Close()
	if err := <-done; err == nil {
		t.Error("a command went on after Close")
	}
}

// busy reports whether a session is in use.
func busy(s *Store) bool {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return len(s.pool.idle) < len(s.pool.all)
}

func TestParseNamespaces(t *testing.T) {
	t.Parallel()
	list := []imapconn.Token{{Kind: imapconn.List, List: []imapconn.Token{
		{Kind: imapconn.List, List: []imapconn.Token{{Kind: imapconn.Quoted, Data: []byte("INBOX.")}, {Kind: imapconn.Quoted, Data: []byte(".")}}},
		{Kind: imapconn.List, List: []imapconn.Token{{Kind: imapconn.Quoted, Data: []byte("#news")}, {Kind: imapconn.Atom, Data: []byte("NIL")}}},
		{Kind: imapconn.Atom, Data: []byte("x")},
		{Kind: imapconn.List},
	}}}
	got := parseNamespaces(list[0])
	if want := []namespace{{"INBOX.", '.'}, {"#news", 0}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := parseNamespaces(imapconn.Token{Kind: imapconn.Atom, Data: []byte("NIL")}); len(got) != 0 {
		t.Errorf("got %v for NIL", got)
	}
}
