package imapstore

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postbag/internal/imapconn"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
	"postbag/internal/storetest"
)

// gmailStore is a scripted Gmail account and a store of it that shows each message
// where its labels are.
func gmailStore(t *testing.T, setup func(*imaptest.Script, *imaptest.Gmail), quirks ...Quirk) (*imaptest.Scripted, *imaptest.Gmail, *Store) {
	t.Helper()
	var g *imaptest.Gmail
	s := imaptest.StartScripted(t, func(script *imaptest.Script) {
		g = imaptest.NewGmail(script, "Work", "Home")
		if setup != nil {
			setup(script, g)
		}
	})
	store, err := Open(t.Context(), Config{Conn: imapconn.Config{Addr: s.Addr(), TLS: imapconn.TLSNone,
		Auth: imapconn.Auth{User: "u", Secret: func(context.Context) (string, error) { return "p", nil }}}, Log: t.Logf, quirks: quirks})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	store.UseLabels(func(info mail.MailboxInfo) bool { return info.Name != "Home" })
	return s, g, store
}

func gmailLetter(n int) string {
	return fmt.Sprintf("Message-ID: <l%d@x>\r\nSubject: letter %d.\r\n\r\nx\r\n", n, n)
}

// archived are the messages that \All has to show: their UIDs and flags. home says
// whether the label Home counts.
func archived(s *imaptest.Scripted, g *imaptest.Gmail, home bool) map[mail.Ref]mail.Flags {
	out := map[mail.Ref]mail.Flags{}
	s.Edit(func(script *imaptest.Script) {
		labels := g.Labels()
		for _, m := range script.Box("[Gmail]/All Mail").Messages {
			if !slices.ContainsFunc(labels[string(m.Raw)], func(l string) bool { return l == `\Inbox` || l == "Work" || l == `\Sent` || l == "Home" && home }) {
				out[mail.Ref{UID: m.UID}] = mail.ParseFlags(m.Flags...)
			}
		}
	})
	return out
}

// Whatever becomes of labels, flags and messages, also while \All is being listed: what
// it is said to hold is what has no label that counts, and nothing else, as soon as the
// server is quiet. Nothing is told as gone before all is listed.
func TestAllShowsWhatHasNoLabel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 17))
			s, g, store := gmailStore(t, func(script *imaptest.Script, _ *imaptest.Gmail) {
				if seed%4 == 3 {
					script.Without("CONDSTORE")
				}
			})
			n := 0
			edit := func(times int) {
				s.Edit(func(script *imaptest.Script) {
					for range times {
						label := []string{"INBOX", "Work", "Home", "[Gmail]/Sent Mail"}[rng.IntN(4)]
						which := fmt.Sprintf("letter %d.", rng.IntN(n+1))
						switch rng.IntN(8) {
						case 0, 1, 2:
							labels := [][]string{nil, {label}, {"Home"}, {"Work", label}}[rng.IntN(4)]
							g.Put(gmailLetter(n), "01-Jan-2024 10:00:00 +0000", [][]string{nil, {`\Seen`}, {`\Flagged`}}[rng.IntN(3)], labels...)
							n++
						case 3, 4:
							g.Label(which, label, true)
						case 5, 6:
							g.Label(which, label, false)
						case 7:
							if rng.IntN(3) == 0 {
								g.Delete(which)
							}
						}
					}
				})
			}
			edit(20)
			known := storetest.KnownMap{}
			var cursor mail.Cursor
			home := false
			for range 8 {
				if rng.IntN(3) == 0 {
					home = !home
					counts := home
					store.UseLabels(func(info mail.MailboxInfo) bool { return info.Name != "Home" || counts })
					if _, err := store.List(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				restless := rng.IntN(2) == 0
				limit := []int{1, 2, 5, 1000}[rng.IntN(4)]
				for quiet := false; !quiet; {
					mb, err := store.Examine(t.Context(), "[Gmail]/All Mail")
					if err != nil {
						t.Fatal(err)
					}
					d, err := mb.Changes(t.Context(), cursor, known, limit)
					if err != nil {
						t.Fatal(err)
					}
					if d.More && (len(d.Gone) > 0 || d.Stamp != "") {
						t.Fatalf("before all is listed: %+v", d)
					}
					for _, m := range d.New {
						known[m.Ref] = m.Flags
					}
					for _, f := range d.Flags {
						known[f.Ref] = f.Flags
					}
					for _, ref := range d.Gone {
						delete(known, ref)
					}
					cursor = d.Cursor
					if restless && rng.IntN(3) > 0 {
						edit(3)
						continue
					}
					restless = false
					quiet = !d.More && d.Empty()
				}
				if want := archived(s, g, home); !maps.EqualFunc(map[mail.Ref]mail.Flags(known), want, mail.Flags.Equal) {
					t.Fatalf("\\All shows\n%v\nwant\n%v", known, want)
				}
				edit(rng.IntN(12))
			}
		})
	}
}

// Which labels count, and which mailboxes are views, follows the listing: a change of
// that is a change of \All.
func TestLabelsThatCount(t *testing.T) {
	t.Parallel()
	s, g, store := gmailStore(t, func(_ *imaptest.Script, g *imaptest.Gmail) {
		g.Put(gmailLetter(0), "01-Jan-2024 10:00:00 +0000", nil, "Work")
		g.Put(gmailLetter(1), "01-Jan-2024 10:00:00 +0000", nil)
	})
	look := func() (mail.MailboxInfo, int) {
		t.Helper()
		infos, err := store.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var all mail.MailboxInfo
		for _, info := range infos {
			view := info.Name == "[Gmail]/Starred" || info.Name == "[Gmail]/Important"
			if info.View != view {
				t.Errorf("%s: view %v, want %v", info.Name, info.View, view)
			}
			if info.Use == mail.UseAll {
				all = info
			}
		}
		mb, err := store.Examine(t.Context(), all.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got := mb.Info(); got.Validity != all.Validity || got.Stamp != all.Stamp {
			t.Errorf("opened as %+v, listed as %+v", got, all)
		}
		d, err := mb.Changes(t.Context(), "", storetest.KnownMap{}, 1000)
		if err != nil || d.Stamp != all.Stamp {
			t.Errorf("the delta's stamp is %q, the listing's %q, %v", d.Stamp, all.Stamp, err)
		}
		return all, len(d.New)
	}
	first, n := look()
	if n != 1 || first.Messages != -1 {
		t.Errorf("%d messages are shown, %+v", n, first)
	}
	s.Edit(func(*imaptest.Script) { g.Hide("Work") })
	second, n := look()
	if n != 2 || second.Stamp == first.Stamp {
		t.Errorf("with the label hidden %d messages are shown, stamp %q after %q", n, second.Stamp, first.Stamp)
	}
	store.UseLabels(nil)
	plain, n := func() (string, int) {
		infos, err := store.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			if info.Use == mail.UseAll {
				return info.Validity, info.Messages
			}
		}
		return "", 0
	}()
	if n != 2 || plain == first.Validity {
		t.Errorf("as the server has it, \\All is listed with %d messages and the validity %q, %q", n, plain, first.Validity)
	}
}

// A message that is moved out of \All gets a label, and one that is removed goes to the
// bin; one that is moved there loses its label.
func TestMovesOutOfAll(t *testing.T) {
	t.Parallel()
	s, g, store := gmailStore(t, func(_ *imaptest.Script, g *imaptest.Gmail) {
		for n := range 3 {
			g.Put(gmailLetter(n), "01-Jan-2024 10:00:00 +0000", nil)
		}
		g.Put(gmailLetter(3), "01-Jan-2024 10:00:00 +0000", nil, "Work")
	})
	all, err := store.Select(t.Context(), "[Gmail]/All Mail")
	if err != nil {
		t.Fatal(err)
	}
	moved, err := all.Move(t.Context(), []mail.Ref{{UID: 1}}, "Work")
	if err != nil || len(moved) != 1 || moved[0].To.UID != 2 {
		t.Fatalf("moved %v, %v", moved, err)
	}
	gone, err := all.Remove(t.Context(), []mail.Ref{{UID: 2}})
	if err != nil || len(gone) != 1 {
		t.Fatalf("removed %v, %v", gone, err)
	}
	work, err := store.Select(t.Context(), "Work")
	if err != nil {
		t.Fatal(err)
	}
	if moved, err = work.Move(t.Context(), []mail.Ref{{UID: 1}}, "[Gmail]/All Mail"); err != nil || len(moved) != 1 || moved[0].To.UID != 4 {
		t.Fatalf("moved %v, %v", moved, err)
	}
	var got map[string][]string
	s.Edit(func(*imaptest.Script) { got = g.Labels() })
	want := map[string][]string{gmailLetter(0): {"Work"}, gmailLetter(1): {`\Trash`}, gmailLetter(2): nil, gmailLetter(3): nil}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the labels are %v, want %v", got, want)
	}
}

// A server with labels keeps one of equal messages: what is sent to \All and is there
// already is answered with that one, and a second one is refused by itself.
func TestUploadOfWhatIsThere(t *testing.T) {
	t.Parallel()
	s, _, store := gmailStore(t, func(_ *imaptest.Script, g *imaptest.Gmail) {
		g.Put(gmailLetter(0), "01-Jan-2024 10:00:00 +0000", nil, "Work")
	})
	all, err := store.Select(t.Context(), "[Gmail]/All Mail")
	if err != nil {
		t.Fatal(err)
	}
	b, err := all.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	var added []mail.Pending
	for _, n := range []int{0, 1, 0} {
		body := gmailLetter(n)
		p, err := b.Add(t.Context(), mail.Message{Size: int64(len(body))}, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		added = append(added, p)
	}
	landed, err := b.Commit(t.Context(), added)
	if err != nil {
		t.Fatal(err)
	}
	if !landed[0].Old || landed[0].Ref.UID != 1 || landed[1].Old || landed[1].Ref.UID != 2 {
		t.Errorf("landed as %+v", landed[:2])
	}
	if e := landed[2].Err; e == nil || e.Scope != mail.ScopeMessage || !landed[2].Ref.IsZero() {
		t.Errorf("the second of two equal messages is answered with %+v", landed[2])
	}
	s.Edit(func(script *imaptest.Script) {
		if n := len(script.Box("[Gmail]/All Mail").Messages); n != 2 {
			t.Errorf("there are %d messages, want 2", n)
		}
	})
}

// lookAtAll is one look at \All.
func lookAtAll(t *testing.T, store *Store, since mail.Cursor, known storetest.KnownMap, limit int) mail.Delta {
	t.Helper()
	mb, err := store.Examine(t.Context(), "[Gmail]/All Mail")
	if err != nil {
		t.Fatal(err)
	}
	d, err := mb.Changes(t.Context(), since, known, limit)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Where an account is set to show no more than so many messages, one that fell out of
// \All does not count as deleted.
func TestAllShowsNoMore(t *testing.T) {
	t.Parallel()
	s, g, store := gmailStore(t, func(_ *imaptest.Script, g *imaptest.Gmail) {
		for n := range 4 {
			g.Put(gmailLetter(n), "01-Jan-2024 10:00:00 +0000", nil)
		}
	}, Quirk{Name: "G", Caps: []string{"X-GM-EXT-1"}, ShowsAtMost: []uint32{3}})
	known := storetest.KnownMap{}
	first := lookAtAll(t, store, "", known, 1000)
	for _, m := range first.New {
		known[m.Ref] = m.Flags
	}
	since := first.Cursor
	s.Edit(func(*imaptest.Script) { g.Delete("letter 0.") })
	for range 2 {
		d := lookAtAll(t, store, since, known, 1000)
		if len(d.Gone) > 0 || d.Unsettled == "" || d.Stamp != "" {
			t.Errorf("told as gone: %v, and not %q", d.Gone, d.Unsettled)
		}
		since = d.Cursor
	}
	s.Edit(func(*imaptest.Script) { g.Delete("letter 1.") })
	if d := lookAtAll(t, store, since, known, 1000); len(d.Gone) != 2 || d.Unsettled != "" {
		t.Errorf("told as gone: %v, %q", d.Gone, d.Unsettled)
	}
}

// What the server leaves out of a listing that it ends with OK is missed, whether it is
// the first one, one of several, or one of what is new; and the next look has it.
func TestAllListedInPart(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 1000} {
		for uid := uint32(1); uid <= 6; uid++ {
			t.Run(fmt.Sprint(limit, " ", uid), func(t *testing.T) {
				t.Parallel()
				s, g, store := gmailStore(t, nil)
				leave := true
				s.Edit(func(script *imaptest.Script) {
					script.OnFetch(func(_ *imaptest.ScriptConn, m *imaptest.ScriptMessage, atts []imaptest.Att) []imaptest.Att {
						if leave && m.UID == uid {
							return nil
						}
						return atts
					})
				})
				known := storetest.KnownMap{}
				var cursor mail.Cursor
				missing := 0
				all := func() {
					for more := true; more; {
						d := lookAtAll(t, store, cursor, known, limit)
						for _, m := range d.New {
							known[m.Ref] = m.Flags
						}
						if cursor, more = d.Cursor, d.More; d.Missing > 0 && d.Unsettled != "" && d.Stamp == "" {
							missing++
						}
						if len(d.Gone) > 0 {
							t.Errorf("told as gone: %v", d.Gone)
						}
					}
				}
				for part := range 2 {
					s.Edit(func(*imaptest.Script) {
						for n := range 3 {
							g.Put(gmailLetter(3*part+n), "01-Jan-2024 10:00:00 +0000", nil)
						}
					})
					all()
				}
				if missing == 0 {
					t.Error("nothing was missed")
				}
				s.Edit(func(*imaptest.Script) { leave = false })
				all()
				if len(known) != 6 {
					t.Errorf("in the end %d messages are known, want 6", len(known))
				}
			})
		}
	}
}
