package sync

import (
	"context"

	"postbag/internal/mail"
	"postbag/state"
)

// setFlags changes flags side by side, and records each row once both sides hold
// what was planned. A flag that a side does not take is recorded as not held
// there, and not tried again until it changes.
func (r *run) setFlags(ctx context.Context, b *box, actions []SetFlags, open *sides) error {
	if len(actions) == 0 {
		return nil
	}
	done := make(map[*state.Row]bool, len(actions))
	for _, a := range actions {
		done[a.Row] = true
	}
	for _, s := range []state.Side{state.A, state.B} {
		if err := r.setFlagsOn(ctx, b, s, actions, open, done); err != nil {
			return err
		}
	}
	var tx state.Tx
	for _, a := range actions {
		if done[a.Row] {
			tx.Rows = append(tx.Rows, a.Row)
			if a.Forget != 0 {
				tx.Delete = append(tx.Delete, a.Forget)
			}
		}
	}
	return commit(ctx, r.Journal, &tx, false)
}

func (r *run) setFlagsOn(ctx context.Context, b *box, s state.Side, actions []SetFlags, open *sides, done map[*state.Row]bool) error {
	var changes []mail.FlagChange
	waiting := make(map[mail.Ref]SetFlags)
	for _, a := range actions {
		if !a.Do[s].IsZero() {
			changes = append(changes, mail.FlagChange{Ref: a.Row.Ref[s], Delta: a.Do[s]})
			waiting[a.Row.Ref[s]] = a
		}
	}
	if len(changes) == 0 {
		return nil
	}
	mb, err := r.openSide(ctx, b, open, s)
	if err != nil {
		return err
	}
	w, err := writable(mb)
	if err != nil {
		return err
	}
	b.wrote[s] = true
	var unheld mail.Flags
	for i := range changes {
		add := changes[i].Delta.Add
		changes[i].Delta.Add = w.Storable(add)
		unheld = unheld.Union(add.Minus(changes[i].Delta.Add))
	}
	if !unheld.IsZero() {
		r.rep.problem(notHeld(b, s, changes[0].Ref, unheld))
	}
	states, err := w.SetFlags(ctx, changes)
	if err == nil {
		states, err = r.insist(ctx, b, s, w, changes, states)
	}
	count := 0
	for _, f := range states {
		if a, ok := waiting[f.Ref]; ok {
			delete(waiting, f.Ref)
			a.Row.Flags[s] = achieved(a.Row.Flags[s], a.Do[s], f.Flags, b.holds[s])
			count++
		}
	}
	for _, a := range waiting { // vanished: the next look tells
		done[a.Row] = false
	}
	r.rep.count(b.name(), s, Counts{Flags: count})
	return err
}

// notHeld tells, when it happens, which flags went nowhere; ref is one of the
// messages.
func notHeld(b *box, s state.Side, ref mail.Ref, unheld mail.Flags) Problem {
	return Problem{Mailbox: b.name(), Side: s, Ref: ref, Size: -1, Warning: true,
		Reason: "this side cannot hold: " + unheld.String(), Hint: "the flags stay on the other side"}
}

// insist notes which flags a side took, and sets once more those that none of its
// messages took: another client may have been quicker. It answers with the flags as
// they are then.
func (r *run) insist(ctx context.Context, b *box, s state.Side, w mail.WritableMailbox, changes []mail.FlagChange, states []mail.FlagState) ([]mail.FlagState, error) {
	wanted := make(map[mail.Ref]mail.Flags, len(changes))
	for _, c := range changes {
		wanted[c.Ref] = c.Delta.Add
	}
	note := func(states []mail.FlagState) (again []mail.FlagChange) {
		for _, f := range states {
			b.holds[s] = b.holds[s].Union(wanted[f.Ref].Intersect(f.Flags))
		}
		for _, f := range states {
			if lacks := wanted[f.Ref].Minus(f.Flags).Minus(b.holds[s]); !lacks.IsZero() {
				again = append(again, mail.FlagChange{Ref: f.Ref, Delta: mail.FlagDelta{Add: lacks}})
			}
		}
		return again
	}
	again := note(states)
	if len(again) == 0 {
		return states, nil
	}
	second, err := w.SetFlags(ctx, again)
	note(second)
	now := make(map[mail.Ref]mail.Flags, len(second))
	for _, f := range second {
		now[f.Ref] = f.Flags
	}
	for i, f := range states {
		if flags, ok := now[f.Ref]; ok {
			states[i].Flags = flags
		}
	}
	return states, err
}

// achieved is what to record of a side that was to hold planned after do, and
// now holds now: planned, but for what it does not take at all, because no message
// of it has. What somebody else changed meanwhile is not recorded, so that the next
// look sees it.
func achieved(planned mail.Flags, do mail.FlagDelta, now, holds mail.Flags) mail.Flags {
	return planned.Minus(do.Add.Minus(now).Minus(holds))
}
