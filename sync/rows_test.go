package sync

import (
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/state"
)

// rowOf is a row of a message, which the sides given have.
func rowOf(id int64, m mail.Message, sides ...state.Side) *state.Row {
	r := &state.Row{ID: id, Mailbox: 1, Size: m.Size, Date: m.Date, Ident: m.ID}
	for _, s := range sides {
		r.Ref[s], r.Flags[s] = m.Ref, m.Flags
	}
	return r
}

// Messages of one side, and those that the other side lost, follow their side:
// nothing that happens to them is done, or means anything, on the other.
func TestPlanKnownOfOneSide(t *testing.T) {
	t.Parallel()
	kept := pairedRow(7)
	kept.Gone[0] = 3
	tests := []struct {
		name, want string
		row        *state.Row
		side       state.Side
		what       string
	}{
		{"flags of a message of A alone", "rec", rowOf(7, msg(7, "", "<a>", 5, 1), state.A), state.A, "flags"},
		{"a message of A alone goes", "X", rowOf(7, msg(7, "", "<a>", 5, 1), state.A), state.A, "gone"},
		{"flags of a message of B alone", "rec", rowOf(7, msg(0, "k7", "<a>", 5, 1), state.B), state.B, "flags"},
		{"a message of B alone goes", "X", rowOf(7, msg(0, "k7", "<a>", 5, 1), state.B), state.B, "gone"},
		{"flags of a message that B kept", "K", kept, state.B, "flags"},
		{"a message that B kept goes", "X", kept, state.B, "gone"},
		{"what A lost is lost again", "=", kept, state.A, "gone"},
	}
	for _, tt := range tests {
		for _, p := range []Policy{TwoWay(), Backup(), Mirror()} {
			in := Input{Mailbox: 1, Policy: p, Rows: []*state.Row{tt.row}}
			happen(&in.Delta[tt.side], tt.row.Ref[tt.side], tt.what)
			if got := summarise(PlanKnown(in)); got != tt.want {
				t.Errorf("%s: %s: plan %q, want %q", p.Name, tt.name, got, tt.want)
			}
		}
	}
}

// What becomes of a message that is new on one side, under each policy, and of the
// rows of one side that it may be equal to.
func TestPlanNewOfOneSide(t *testing.T) {
	t.Parallel()
	a, b := msg(1, "", "<a>", 5, 1), msg(0, "k", "<a>", 5, 1)
	flagged := b
	flagged.Flags = mail.ParseFlags(`\Flagged`)
	alone := func() []*state.Row { return []*state.Row{rowOf(9, b, state.B)} }
	ghost := rowOf(9, b, state.B)
	ghost.Gone[state.B] = 3
	tests := []struct {
		name   string
		edit   func(*Input)
		policy Policy
		copies [2]int
		rows   int // written down
		pairs  int
		flags  int
		forget int
	}{
		{"new on A", func(in *Input) { in.Delta[0].New = []mail.Message{a} }, TwoWay(), [2]int{0, 1}, 0, 0, 0, 0},
		{"new on A", func(in *Input) { in.Delta[0].New = []mail.Message{a} }, Backup(), [2]int{0, 1}, 0, 0, 0, 0},
		{"new on B", func(in *Input) { in.Delta[1].New = []mail.Message{b} }, TwoWay(), [2]int{1, 0}, 0, 0, 0, 0},
		{"new on B", func(in *Input) { in.Delta[1].New = []mail.Message{b} }, Backup(), [2]int{}, 1, 0, 0, 0},
		{"new on A, not selected", func(in *Input) {
			in.Delta[0].New, in.Pass = []mail.Message{a}, func(mail.Message) bool { return false }
		}, TwoWay(), [2]int{}, 1, 0, 0, 0},
		{"new on A, B is not all known", func(in *Input) { in.Delta[0].New, in.Park[0] = []mail.Message{a}, true }, TwoWay(), [2]int{}, 1, 0, 0, 0},
		{"alone on B", func(in *Input) { in.Alone[1] = alone() }, TwoWay(), [2]int{}, 0, 0, 0, 0},
		{"alone on B, to be tried again", func(in *Input) { in.Retry = alone() }, TwoWay(), [2]int{1, 0}, 0, 0, 0, 0},
		{"new on A, alone on B", func(in *Input) { in.Delta[0].New, in.Alone[1] = []mail.Message{a}, alone() }, TwoWay(), [2]int{}, 1, 1, 0, 0},
		{"new on A, alone on B and flagged since", func(in *Input) {
			in.Delta[0].New, in.Alone[1] = []mail.Message{a}, alone()
			in.Delta[1].Flags = []mail.FlagState{{Ref: b.Ref, Flags: flagged.Flags}}
		}, TwoWay(), [2]int{}, 0, 0, 1, 0},
		{"new on A, alone on B and gone since", func(in *Input) {
			in.Delta[0].New, in.Alone[1], in.Delta[1].Gone = []mail.Message{a}, alone(), []mail.Ref{b.Ref}
		}, TwoWay(), [2]int{0, 1}, 0, 0, 0, 0},
		{"to be tried again, gone since", func(in *Input) { in.Retry, in.Delta[1].Gone = alone(), []mail.Ref{b.Ref} }, TwoWay(), [2]int{}, 0, 0, 0, 0},
		{"alone on both sides, to be tried again", func(in *Input) {
			in.Retry = append(alone(), rowOf(8, a, state.A))
		}, TwoWay(), [2]int{}, 1, 1, 0, 1},
		{"alone on both sides with other flags, to be tried again", func(in *Input) {
			m := a
			m.Flags = flagged.Flags
			in.Retry = append(alone(), rowOf(8, m, state.A))
		}, TwoWay(), [2]int{}, 0, 0, 1, 0},
		{"new on A, removed from B before", func(in *Input) { in.Delta[0].New, in.Ghosts[1] = []mail.Message{a}, []*state.Row{ghost} }, Backup(), [2]int{}, 1, 0, 0, 0},
	}
	for _, tt := range tests {
		in := Input{Mailbox: 1, Policy: tt.policy}
		tt.edit(&in)
		p := PlanNew(in)
		var copies [2]int
		for _, c := range p.Copies {
			copies[c.To]++
		}
		pairs := 0
		for _, r := range p.Records {
			if r.Alive(state.A) && r.Alive(state.B) {
				pairs++
			}
		}
		if copies != tt.copies || len(p.Records) != tt.rows || pairs != tt.pairs || len(p.Flags) != tt.flags || len(p.Forget) != tt.forget {
			t.Errorf("%s: %s: copies %v, %d rows, %d of them pairs, %d flags, %d forgotten; want %v, %d, %d, %d, %d",
				tt.policy.Name, tt.name, copies, len(p.Records), pairs, len(p.Flags), len(p.Forget), tt.copies, tt.rows, tt.pairs, tt.flags, tt.forget)
		}
	}
}

// A new ref in the same mailbox keeps its row only when the content is proved to
// be the same.
func TestFindRekeyed(t *testing.T) {
	t.Parallel()
	object := func(m mail.Message) mail.Message {
		m.ID.ObjectID = "M1"
		return m
	}
	lost := func(m mail.Message) []Lost { return []Lost{{rowOf(1, m, state.A)}} }
	tests := []struct {
		name  string
		lost  []Lost
		found []Found
		want  int
	}{
		{"equal digests", lost(msg(0, "k", "<a>", 5, 3)), []Found{{1, msg(0, "l", "<a>", 5, 3)}}, 1},
		{"another digest", lost(msg(0, "k", "<a>", 5, 3)), []Found{{1, msg(0, "l", "<a>", 5, 4)}}, 0},
		{"headers only", lost(msg(0, "k", "<a>", 5, 3)), []Found{{1, msg(0, "l", "<a>", 5, 0)}}, 0},
		{"equal digests on a server", lost(msg(1, "", "<a>", 5, 3)), []Found{{1, msg(9, "", "<a>", 5, 3)}}, 0},
		{"an object id", lost(object(msg(1, "", "<a>", 5, 3))), []Found{{1, object(msg(9, "", "<a>", 5, 0))}}, 1},
		{"another object id and equal digests", lost(msg(1, "", "<a>", 5, 3)), []Found{{1, object(msg(9, "", "<a>", 5, 3))}}, 0},
		{"another mailbox", lost(msg(0, "k", "<a>", 5, 3)), []Found{{2, msg(0, "l", "<a>", 5, 3)}}, 0},
		{"each once", lost(msg(0, "k", "<a>", 5, 3)), []Found{{1, msg(0, "l", "<a>", 5, 3)}, {1, msg(0, "m", "<a>", 5, 3)}}, 1},
	}
	for _, tt := range tests {
		if got := FindRekeyed(tt.lost, tt.found); len(got) != tt.want {
			t.Errorf("%s: %d found, want %d", tt.name, len(got), tt.want)
		}
	}
}

// A lost message that one rule found is not found again by another.
func TestFindMovesOnce(t *testing.T) {
	t.Parallel()
	lost := []Lost{{rowOf(1, msg(1, "", "<a>", 5, 3), state.A)}}
	found := []Found{{2, msg(9, "", "<a>", 5, 3)}, {3, msg(9, "", "<a>", 5, 0)}}
	if got := FindMoves(lost, found); len(got) != 1 || got[0].To != 2 {
		t.Errorf("moves %+v, want one, to where the digest is equal", got)
	}
}

// Of equal messages that are gone on both sides, the one that a move of ours was of
// gets what that move left, whatever the order of the rows.
func TestFindJointMovesByIntent(t *testing.T) {
	t.Parallel()
	a, b := msg(9, "", "", 5, 3), msg(8, "", "", 5, 3)
	for _, marked := range []int64{1, 2, 3} {
		var lost []Lost
		for id := range int64(3) {
			r := rowOf(id+1, msg(uint32(id+1), "", "", 5, 3), state.A, state.B)
			if r.ID == marked {
				r.Mark = intent{state.A, 2, a.Ref, b.Flags}.String()
			}
			lost = append(lost, Lost{r})
		}
		got := FindJointMoves(lost, [2][]Found{{{2, a}}, {{2, b}}}, false)
		if len(got) != 1 || got[0].Row.ID != marked {
			t.Errorf("row %d has the intent: got %+v", marked, got)
		}
	}
}

// Where only headers tell, one of several that may differ is not taken.
func TestPlanNewPairsByHeaders(t *testing.T) {
	t.Parallel()
	draft := func(m mail.Message) mail.Message {
		m.Flags, m.Date = mail.ParseFlags(`\Draft`), time.Unix(5000, 0)
		return m
	}
	tests := []struct {
		name  string
		trust Trust
		a, b  []mail.Message
		want  int
	}{
		{"two digests that nobody knows", TrustDigest, []mail.Message{msg(1, "", "<a>", 5, 0)}, []mail.Message{msg(0, "k", "<a>", 5, 0)}, 0},
		{"two and two of one digest", TrustDigest, []mail.Message{msg(1, "", "<a>", 5, 1), msg(2, "", "<a>", 5, 1)},
			[]mail.Message{msg(0, "k", "<a>", 5, 1), msg(0, "l", "<a>", 5, 1)}, 2},
		{"two that may differ, one", TrustDate, []mail.Message{msg(1, "", "<a>", 5, 0), msg(2, "", "<a>", 5, 0)}, []mail.Message{msg(0, "k", "<a>", 5, 1)}, 0},
		{"two that may differ, two equal ones", TrustID, []mail.Message{msg(1, "", "<a>", 5, 0), msg(2, "", "<a>", 5, 0)},
			[]mail.Message{msg(0, "k", "<a>", 5, 1), msg(0, "l", "<a>", 5, 1)}, 0},
		{"a draft of another date", TrustID, []mail.Message{draft(msg(1, "", "<a>", 5, 0))}, []mail.Message{msg(0, "k", "<a>", 5, 1)}, 0},
		{"no Message-ID", TrustID, []mail.Message{msg(1, "", "", 5, 0)}, []mail.Message{msg(0, "k", "", 5, 1)}, 0},
		{"no Message-ID, numbered anew", TrustDate, []mail.Message{msg(1, "", "", 5, 0)}, []mail.Message{msg(0, "k", "", 5, 1)}, 1},
	}
	for _, tt := range tests {
		in := Input{Mailbox: 1, Policy: Backup(), Trust: tt.trust}
		in.Delta[0].New, in.Delta[1].New = tt.a, tt.b
		got := 0
		p := PlanNew(in)
		for _, r := range p.Records {
			if r.Alive(state.A) && r.Alive(state.B) {
				got++
			}
		}
		for _, f := range p.Flags {
			if f.Row.Alive(state.A) && f.Row.Alive(state.B) {
				got++
			}
		}
		if got != tt.want {
			t.Errorf("%s: %d pairs, want %d", tt.name, got, tt.want)
		}
	}
}
