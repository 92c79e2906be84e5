package sync_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// The conflict matrix: everything that may have happened to one message on both
// sides since the last run, and what both sides hold after the next one. The
// tables are written in a small language.
//
// What happened on a side is a list of: "+F" and "-S", a flag set or taken away;
// "gone", deleted; "to Y", moved to a mailbox; "edit", replaced by other content
// under a new ref; "rekey", given a new ref only; "copy Y", copied. Flags are
// letters: D draft, F flagged, P forwarded, R answered, S seen, T deleted, w the
// keyword "work", W the same keyword in capitals.
//
// A state is a list like "X:m[FS] Y:m[]": the message m in X with two flags, a
// copy of it in Y without any. "e" is what m was edited to. What was done is a
// list like "A move, B 2 flags".

// matrixBoxes exist on both sides before anything happens.
var matrixBoxes = []string{"INBOX", "X", "Y", "Z"}

const (
	original = "Message-ID: <m@x>\r\nSubject: m\r\n\r\nwhat was written first\r\n"
	edited   = "Message-ID: <m@x>\r\nSubject: m\r\n\r\nwhat was written later, and more of it\r\n"
)

var flagLetters = []struct {
	letter string
	flag   mail.Flags
}{
	{"D", mail.ParseFlags(`\Draft`)}, {"F", mail.ParseFlags(`\Flagged`)}, {"P", mail.ParseFlags("$Forwarded")},
	{"R", mail.ParseFlags(`\Answered`)}, {"S", mail.ParseFlags(`\Seen`)}, {"T", mail.ParseFlags(`\Deleted`)},
	{"w", mail.ParseFlags("work")}, {"W", mail.ParseFlags("WORK")},
}

func lettersToFlags(t *testing.T, letters string) mail.Flags {
	t.Helper()
	var f mail.Flags
next:
	for _, l := range letters {
		for _, x := range flagLetters {
			if x.letter == string(l) {
				f = f.Union(x.flag)
				continue next
			}
		}
		t.Fatalf("%q is no flag", l)
	}
	return f
}

// flagsToLetters is the inverse; a keyword's spelling is not shown.
func flagsToLetters(f mail.Flags) string {
	var b strings.Builder
	for _, x := range flagLetters[:len(flagLetters)-1] {
		if !f.Intersect(x.flag).IsZero() {
			b.WriteString(x.letter)
			f = f.Minus(x.flag)
		}
	}
	if !f.IsZero() {
		fmt.Fprintf(&b, " %v", f)
	}
	return b.String()
}

// shown is a side in the language of the tables.
func shown(st *storetest.Store) string {
	var parts []string
	for _, box := range st.Boxes() {
		for _, m := range st.Messages(box) {
			what := "?"
			switch string(m.Body) {
			case original:
				what = "m"
			case edited:
				what = "e"
			}
			parts = append(parts, fmt.Sprintf("%s:%s[%s]", box, what, flagsToLetters(m.Flags)))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// done is what both sides were told in the language of the tables.
func done(w *world) string {
	var parts []string
	for s, st := range w.store {
		for _, what := range slices.Sorted(maps.Keys(st.Did)) {
			n := ""
			if st.Did[what] > 1 {
				n = fmt.Sprint(st.Did[what], " ")
			}
			parts = append(parts, fmt.Sprintf("%v %s%s", state.Side(s), n, what))
		}
	}
	return strings.Join(parts, ", ")
}

// happen lets something happen to the one message in box of a side.
func happen(t *testing.T, st *storetest.Store, box, what string) {
	t.Helper()
	if what == "" {
		return
	}
	msgs := st.Messages(box)
	if len(msgs) == 0 {
		t.Fatalf("there is no message in %s for %q", box, what)
	}
	ref := msgs[0].Ref
	for _, op := range strings.Split(what, ", ") {
		verb, to, _ := strings.Cut(op, " ")
		flags := func() mail.Flags {
			for _, m := range st.Messages(box) {
				if m.Ref == ref {
					return m.Flags
				}
			}
			t.Fatalf("%q: the message is not there any more", what)
			return mail.Flags{}
		}
		switch {
		case op[0] == '+':
			st.Flag(box, ref, flags().Union(lettersToFlags(t, op[1:])))
		case op[0] == '-':
			st.Flag(box, ref, flags().Minus(lettersToFlags(t, op[1:])))
		case op == "gone":
			st.Del(box, ref)
		case op == "edit":
			ref = st.Edit(box, ref, day.Add(time.Hour), edited)
		case op == "rekey":
			ref = st.Rekey(box, ref)
		case verb == "to":
			ref, box = st.MoveMsg(box, ref, to), to
		case verb == "copy":
			st.Copy(box, ref, to)
		default:
			t.Fatalf("%q is not known", op)
		}
	}
}

// paired is a world in which both sides have m in X with these flags, and know it.
func paired(t *testing.T, flags string, edit func(*world)) *world {
	t.Helper()
	w := newWorld()
	for _, st := range w.store {
		for _, box := range matrixBoxes {
			st.AddBox(box)
		}
	}
	if edit != nil {
		edit(w)
	}
	w.store[0].Put("X", lettersToFlags(t, flags), day, original)
	w.mustRun(t, sync.TwoWay(), nil)
	w.mustRun(t, sync.TwoWay(), nil)
	return w.clone(-1) // Did begins here
}

// cell is one cell of the matrix. The message m was in X on both sides, seen.
type cell struct {
	id   string
	b, a string // what happened in the Maildir, and on the server
	want string // what both sides hold after the run
	do   string // what the run tells them, and nothing else
	note string // what the report says, "" when nothing
}

const (
	deletionWins = "deleted on one side, flags changed on the other: the deletion wins"
	serverWins   = "moved to different mailboxes on both sides: this one wins over Y"
)

// What happened to one message on the side of the Maildir (B) and on the server
// (A): nothing, flags, marked as deleted, gone, moved; in the Maildir edited or
// renamed as well. A deletion wins over a change of flags, a move over a deletion
// and over the mark \Deleted, which a client that can only copy leaves behind; of
// two moves that of the server.
//
// An edited message is another message to everybody (M-26 to M-30): nothing on
// either side says which one it was made of. So flags that the server changed
// meanwhile stay with the old content, and go with it (M-27, M-28).
var matrix = []cell{
	{"M-01", "", "", "X:m[S]", "", ""},
	{"M-02", "", "+F, -S", "X:m[F]", "B flags", ""},
	{"M-03", "", "+T", "X:m[ST]", "B flags", ""},
	{"M-04", "", "gone", "", "B remove", ""},
	{"M-05", "", "to Z", "Z:m[S]", "B move", ""},

	{"M-06", "+F, -S", "", "X:m[F]", "A flags", ""},
	{"M-07", "+F, -S", "+R", "X:m[FR]", "A flags, B flags", ""},
	{"M-08", "+F", "+T", "X:m[FST]", "A flags, B flags", ""},
	{"M-09", "+F", "gone", "", "B remove", deletionWins},
	{"M-10", "+F, -S", "to Z", "Z:m[F]", "A flags, B move", ""},

	{"M-11", "+T", "", "X:m[ST]", "A flags", ""},
	{"M-12", "+T", "+F", "X:m[FST]", "A flags, B flags", ""},
	{"M-13", "+T", "+T", "X:m[ST]", "", ""},
	{"M-14", "+T", "gone", "", "B remove", ""},
	{"M-15", "+T", "to Z", "Z:m[S]", "B flags, B move", ""},

	{"M-16", "gone", "", "", "A remove", ""},
	{"M-17", "gone", "+F", "", "A remove", deletionWins},
	{"M-18", "gone", "+T", "", "A remove", ""},
	{"M-19", "gone", "gone", "", "", ""},
	{"M-20", "gone", "to Z", "Z:m[S]", "B new", ""},

	{"M-21", "to Y", "", "Y:m[S]", "A move", ""},
	{"M-22", "to Y", "+F, -S", "Y:m[F]", "A move, B flags", ""},
	{"M-23", "to Y", "+T", "Y:m[S]", "A flags, A move", ""},
	{"M-24", "to Y", "gone", "Y:m[S]", "A new", ""},
	{"M-25 alike", "to Y", "to Y", "Y:m[S]", "", ""},
	{"M-25 apart", "to Y", "to Z", "Z:m[S]", "B move", serverWins},

	{"M-26", "edit", "", "X:e[S]", "A new, A remove", ""},
	{"M-27", "edit", "+F", "X:e[S]", "A new, A remove", deletionWins},
	{"M-28", "edit", "+T", "X:e[S]", "A new, A remove", ""},
	{"M-29", "edit", "gone", "X:e[S]", "A new", ""},
	{"M-30", "edit", "to Z", "X:e[S] Z:m[S]", "A new, B new", ""},

	{"M-31", "rekey", "", "X:m[S]", "", ""},
	{"M-32", "rekey", "+F, -S", "X:m[F]", "B flags", ""},
	{"M-33", "rekey", "+T", "X:m[ST]", "B flags", ""},
	{"M-34", "rekey", "gone", "", "B remove", ""},
	{"M-35", "rekey", "to Z", "Z:m[S]", "B move", ""},

	// Two things at once on one side.
	{"moved and marked", "to Y, +T", "", "Y:m[ST]", "A flags, A move", ""},
	{"moved and flagged", "to Y, +F", "+R, -S", "Y:m[FR]", "A flags, A move, B flags", ""},
	{"both moved alike and flagged", "to Y, +F", "to Y, +R", "Y:m[FRS]", "A flags, B flags", ""},
	{"both moved apart and flagged", "to Y, +F", "to Z, +R", "Z:m[FRS]", "A flags, B flags, B move", serverWins},
	{"moved there and back", "to Y, to X", "", "X:m[S]", "", ""},
	{"renamed and flagged", "rekey, +F", "+R", "X:m[FRS]", "A flags, B flags", ""},
	{"renamed and moved", "rekey, to Y", "+R", "Y:m[RS]", "A move, B flags", ""},
	{"edited and moved", "edit, to Y", "", "Y:e[S]", "A new, A remove", ""},
	{"edited on both sides alike", "edit", "edit", "X:e[S]", "", ""},
	{"half a move", "", "copy Z, +T", "X:m[ST] Z:m[S]", "B flags, B new", ""},
	{"a copy in the same mailbox", "", "copy X", "X:m[S] X:m[S]", "B new", ""},
	{"copied on both sides", "copy Y", "copy Y", "X:m[S] Y:m[S]", "", ""},
	{"copied and deleted", "gone", "copy Y", "Y:m[S]", "A remove, B new", ""},
	{"copied here, moved there", "copy Y", "to Y", "Y:m[S] Y:m[S]", "A new, B move", ""},
}

// variants are the circumstances that must not change what comes of a cell.
var variants = []struct {
	name  string
	world func(*world)
}{
	{"plain", nil},
	{"sides that cannot vouch for anything", func(w *world) { w.store[0].NoStamp, w.store[1].NoStamp = true, true }},
	{"one new message at a time", func(w *world) { w.window = 1 }},
	{"mailboxes with an identity", func(w *world) { w.store[0].ObjectIDs, w.store[1].ObjectIDs = true, true }},
	{"messages with an identity", func(w *world) { w.store[0].EmailIDs = true }},
}

func TestConflictMatrix(t *testing.T) {
	t.Parallel()
	for _, c := range matrix {
		for i, v := range variants {
			if i > 0 && tablesOnly() {
				break
			}
			t.Run(c.id+"/"+v.name, func(t *testing.T) {
				t.Parallel()
				w := paired(t, "S", v.world)
				happen(t, w.store[0], "X", c.a)
				happen(t, w.store[1], "X", c.b)
				before := w.clone(-1)
				rep := w.mustRun(t, sync.TwoWay(), nil)
				checkSides(t, w, c.want)
				if got := done(w); got != c.do {
					t.Errorf("the run does %q, want %q", got, c.do)
				}
				var notes []string
				for _, p := range rep.Problems {
					notes = append(notes, p.Reason)
				}
				if got := strings.Join(notes, "; "); got != c.note {
					t.Errorf("the report says %q, want %q", got, c.note)
				}
				w.checkQuiet(t, sync.TwoWay())
				crashEverywhere(t, before, sync.TwoWay(), w, true)
			})
		}
	}
}

func checkSides(t *testing.T, w *world, want string) {
	t.Helper()
	for s, st := range w.store {
		if got := shown(st); got != want {
			t.Errorf("side %v holds %q, want %q", state.Side(s), got, want)
		}
	}
}

// The engine does not know which side is a server: with everything that happened
// on the other side, the end is the same. But of two moves, that of side A counts,
// and a new UID is known for what it is only where messages have an identity that
// their numbers have not.
func TestConflictMatrixMirrored(t *testing.T) {
	t.Parallel()
	for _, c := range matrix {
		want := c.want
		if c.note == serverWins {
			want = strings.Replace(want, "Z:", "Y:", 1)
		}
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			w := paired(t, "S", func(w *world) { w.store[0].EmailIDs = true })
			happen(t, w.store[0], "X", c.b)
			happen(t, w.store[1], "X", c.a)
			before := w.clone(-1)
			w.mustRun(t, sync.TwoWay(), nil)
			checkSides(t, w, want)
			w.checkQuiet(t, sync.TwoWay())
			crashEverywhere(t, before, sync.TwoWay(), w, true)
		})
	}
}

// Under each of the other policies a cell may end otherwise, but no side is told
// anything that the policy does not allow.
func TestConflictMatrixUnderOtherPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range matrix {
		for _, p := range []sync.Policy{sync.Backup(), sync.Mirror(), {Name: "flags only", May: [2]sync.Allow{{Flags: true}, {Flags: true}}},
			{Name: "additive", May: [2]sync.Allow{{New: true, Flags: true}, {New: true, Flags: true}}}} {
			t.Run(c.id+"/"+p.Name, func(t *testing.T) {
				t.Parallel()
				w := paired(t, "S", nil)
				happen(t, w.store[0], "X", c.a)
				happen(t, w.store[1], "X", c.b)
				before := w.clone(-1)
				w.mustRun(t, p, nil)
				checkPolicy(t, w, p)
				w.checkQuiet(t, p)
				crashEverywhere(t, before, p, w, true)
			})
		}
	}
}

// checkPolicy expects that no side was told what the policy does not allow there.
// Who deletes mailboxes removes what is in them first, to where it can be got back.
func checkPolicy(t *testing.T, w *world, p sync.Policy) {
	t.Helper()
	for s, st := range w.store {
		may := p.May[s]
		for what, allowed := range map[string]bool{"new": may.New, "flags": may.Flags, "remove": may.Deletes || st.Did["delete"] > 0, "move": may.Moves,
			"create": may.Mailboxes, "rename": may.Mailboxes, "delete": may.DeleteMailboxes} {
			if !allowed && st.Did[what] > 0 {
				t.Errorf("policy %q, %+v: side %v is told %d times to %s", p.Name, may, state.Side(s), st.Did[what], what)
			}
		}
	}
}
