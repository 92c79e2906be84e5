package sync

import (
	"slices"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/state"
)

var sentDay = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// sentRow is the row of a message of which side B holds a repaired copy, with refs on
// the sides where uid is not 0.
func sentRow(id int64, a, b uint32) *state.Row {
	r := &state.Row{ID: id, Mailbox: 1, Size: 100, Date: sentDay,
		Ident: mail.Identity{Digest: mail.Digest{1}, MessageID: 7, Described: true},
		Sent:  &state.Sent{Side: state.B, Size: 103, Repairs: "crlf", ID: mail.Identity{Digest: mail.Digest{2}, MessageID: 7, Described: true}}}
	if a > 0 {
		r.Ref[0] = mail.Ref{UID: a}
	}
	if b > 0 {
		r.Ref[1] = mail.Ref{UID: b}
	}
	return r
}

// held is a message as a side lists it.
func held(uid uint32, size int64, digest byte) mail.Message {
	m := mail.Message{Ref: mail.Ref{UID: uid}, Size: size, Date: sentDay, ID: mail.Identity{MessageID: 7, Described: true}}
	if digest > 0 {
		m.ID.Digest = mail.Digest{digest}
	}
	return m
}

// A message and its repaired copy are paired again when either side is numbered anew,
// and nothing else is taken for it: not what has another size, and without a digest
// only in a mailbox that was numbered anew.
func TestPlanSent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		row   *state.Row
		on    state.Side // of the message that is new
		new   mail.Message
		trust Trust
		pair  bool
	}{
		{"digest", sentRow(5, 1, 0), state.B, held(9, 103, 2), TrustDigest, true},
		{"headers", sentRow(5, 1, 0), state.B, held(9, 103, 0), TrustDate, true},
		{"headers, nothing numbered anew", sentRow(5, 1, 0), state.B, held(9, 103, 0), TrustDigest, false},
		{"another content", sentRow(5, 1, 0), state.B, held(9, 103, 3), TrustDate, false},
		{"the other side, digest", sentRow(5, 0, 1), state.A, held(9, 100, 1), TrustDigest, true},
		{"the other side, headers", sentRow(5, 0, 1), state.A, held(9, 100, 0), TrustDate, true},
		{"another size", sentRow(5, 0, 1), state.A, held(9, 101, 0), TrustDate, false},
	} {
		in := Input{Mailbox: 1, Policy: Mirror(), Retry: []*state.Row{test.row}, Trust: test.trust}
		in.Delta[test.on].New = []mail.Message{test.new}
		plan := PlanNew(in)
		var pairs []*state.Row
		for _, r := range plan.Records {
			if r.Alive(state.A) && r.Alive(state.B) {
				pairs = append(pairs, r)
			}
		}
		if (len(pairs) == 1) != test.pair {
			t.Errorf("%s: records %+v, copies %+v", test.name, plan.Records, plan.Copies)
			continue
		}
		if !test.pair {
			continue
		}
		if r := pairs[0]; r.ID != 5 || r.Size != 100 || r.Ident.Digest != (mail.Digest{1}) || r.Sent == nil || r.Sent.Size != 103 || len(plan.Copies) > 0 {
			t.Errorf("%s: got %+v with %+v", test.name, r, r.Sent)
		}
	}
}

// Once both sides hold the same, what was sent before means nothing any more.
func TestPlanSentNoMore(t *testing.T) {
	t.Parallel()
	for _, same := range []struct {
		row *state.Row
		on  state.Side
		new mail.Message
	}{{sentRow(5, 1, 0), state.B, held(9, 100, 1)}, {sentRow(5, 1, 0), state.B, held(9, 100, 0)}, {sentRow(5, 0, 1), state.A, held(9, 103, 0)}} {
		in := Input{Mailbox: 1, Policy: Mirror(), Retry: []*state.Row{same.row}, Trust: TrustDate}
		in.Delta[same.on].New = []mail.Message{same.new}
		plan := PlanNew(in)
		i := slices.IndexFunc(plan.Records, func(r *state.Row) bool { return r.ID == 5 })
		if i < 0 || plan.Records[i].Sent != nil || plan.Records[i].Ref[same.on].UID != 9 {
			t.Errorf("%+v: got %+v", same.new, plan.Records)
		}
	}
}

// A move of a repaired message is seen on the side that holds the copy as on the one
// that holds the message, once.
func TestFindMovesOfSent(t *testing.T) {
	t.Parallel()
	for _, found := range [][]Found{
		{{Mailbox: 2, Msg: held(9, 103, 0)}},
		{{Mailbox: 2, Msg: held(9, 100, 0)}},
		{{Mailbox: 2, Msg: held(9, 103, 2)}},
		{{Mailbox: 2, Msg: held(9, 100, 1)}, {Mailbox: 3, Msg: held(10, 103, 2)}},
	} {
		moves := FindMoves([]Lost{{sentRow(5, 1, 1)}}, found)
		if len(moves) != 1 || moves[0].To != 2 || moves[0].Msg.Ref.UID != 9 {
			t.Errorf("%+v: got %+v", found, moves)
		}
	}
	if moves := FindMoves([]Lost{{sentRow(5, 1, 1)}}, []Found{{Mailbox: 2, Msg: held(9, 103, 3)}}); len(moves) != 0 {
		t.Errorf("another content: got %+v", moves)
	}
}
