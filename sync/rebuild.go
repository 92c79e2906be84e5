package sync

import (
	"context"
	"io"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// Nothing changes neither side: a run of it writes down which messages are one. With
// an empty journal that makes a state of what is there.
func Nothing() Policy { return Policy{Name: "nothing"} }

// idle reports whether a policy changes neither side.
func (p Policy) idle() bool { return p.May == [2]Allow{} }

// Drift is how one side of a mailbox differs from what the journal has of it.
type Drift struct {
	New, Gone, Flags int
}

// Zero reports whether there is no difference.
func (d Drift) Zero() bool { return d == Drift{} }

// DriftOf compares all messages that a mailbox lists with what is known of it. It
// changes nothing.
func DriftOf(ctx context.Context, mb mail.Mailbox, known mail.Known) (d Drift, err error) {
	have := make(map[mail.Ref]mail.Flags, known.Count())
	if err := known.Each(ctx, mail.Ref{}, mail.Ref{}, func(ref mail.Ref, f mail.Flags) error {
		have[ref] = f
		return nil
	}); err != nil {
		return d, err
	}
	err = eachWindow(ctx, mb, func(list []mail.Message) error {
		for _, m := range list {
			f, ok := have[m.Ref]
			switch {
			case !ok:
				d.New++
			case !f.Equal(m.Flags):
				d.Flags++
			}
			delete(have, m.Ref)
		}
		return nil
	})
	d.Gone = len(have)
	return d, err
}

// Void reports whether the refs of a side on record mean nothing any more.
func Void(rec *state.Mailbox, s state.Side, now mail.MailboxInfo) bool {
	return now.Validity != "" && rec.Validity[s] != "" && rec.Validity[s] != now.Validity
}

// Rebuild writes into an empty journal which messages of two sides are one, and which
// one side has alone, and changes neither side; flags that differ are left to the next
// run. What headers and sizes do not settle,
// because messages lack a Message-ID, share one, or are not of the size that the
// server tells, is read from A, as far as it may be a message that B has, and
// compared by digest; nothing else is read.
func Rebuild(ctx context.Context, o Options) (*Report, error) {
	o.Policy = Nothing()
	report, err := Run(ctx, o)
	if err != nil {
		return report, err
	}
	o.defaults()
	records, err := o.Journal.Mailboxes(ctx)
	if err != nil {
		return report, err
	}
	for _, rec := range records {
		if rec.Name[state.A] == "" || rec.Name[state.B] == "" {
			continue
		}
		p := &contentPairer{Options: o, rec: rec}
		if err := p.run(ctx); err != nil {
			return report, err
		}
	}
	return report, nil
}

// contentPairer pairs the rows of one mailbox that are alone on their sides.
type contentPairer struct {
	Options
	rec  *state.Mailbox
	rows [2][]*state.Row
}

func (p *contentPairer) run(ctx context.Context) error {
	for s := range p.rows {
		for after := int64(0); ; {
			rows, err := p.Journal.AloneRows(ctx, p.rec.ID, state.Side(s), after, 1000)
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				break
			}
			after = rows[len(rows)-1].ID
			p.rows[s] = append(p.rows[s], rows...)
		}
	}
	if len(p.rows[state.A]) == 0 || len(p.rows[state.B]) == 0 {
		return nil
	}
	var open sides
	defer open.close()
	for s, store := range []mail.Store{p.A, p.B} {
		mb, err := store.Examine(ctx, p.rec.Name[s])
		if err != nil {
			return err
		}
		open[s] = mb
		if err := p.describe(ctx, state.Side(s), mb); err != nil {
			return err
		}
	}
	if err := p.read(ctx, open[state.A]); err != nil {
		return err
	}
	return p.pair(ctx)
}

// describe finds the Message-IDs of a side's rows, and B's digests.
func (p *contentPairer) describe(ctx context.Context, s state.Side, mb mail.Mailbox) error {
	byRef := make(map[mail.Ref]*state.Row)
	var refs []mail.Ref
	for _, r := range p.rows[s] {
		if !r.Ident.Described || s == state.B && !r.Ident.Digest.Known() {
			byRef[r.Ref[s]] = r
			refs = append(refs, r.Ref[s])
		}
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	for chunk := range slices.Chunk(refs, rowsAtOnce) {
		if err := mb.Describe(ctx, chunk, s == state.B, func(m mail.Message) error {
			if r := byRef[m.Ref]; r != nil {
				r.Ident, r.Size = joinIdentity(m.ID, r.Ident), m.Size
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// read finds the digests of those of A's messages that may be one of B's.
func (p *contentPairer) read(ctx context.Context, mb mail.Mailbox) error {
	ids, sizes := make(map[mail.MessageID]bool), make(map[int64]bool)
	for _, r := range p.rows[state.B] {
		ids[r.Ident.MessageID], sizes[r.Size] = true, true
	}
	byRef := make(map[mail.Ref]*state.Row)
	var refs []mail.Ref
	for _, r := range p.rows[state.A] {
		if !r.Ident.Digest.Known() && (ids[r.Ident.MessageID] || sizes[r.Size]) {
			byRef[r.Ref[state.A]] = r
			refs = append(refs, r.Ref[state.A])
		}
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	return mb.Fetch(ctx, refs, func(f mail.Fetched) error {
		r := byRef[f.Ref]
		if r == nil || f.Err != nil {
			return nil // it stays alone: the next run tells why
		}
		m := newMeter(f.Body)
		if _, err := io.Copy(io.Discard, m); isScope(err, mail.ScopeMessage) {
			return nil
		} else if err != nil {
			return err
		}
		r.Ident, r.Size = m.identity(r.Ident), m.n
		return nil
	})
}

// pair joins rows of one digest, as many as there are on both sides.
func (p *contentPairer) pair(ctx context.Context) error {
	byDigest := make(map[mail.Digest][]*state.Row)
	for _, r := range p.rows[state.B] {
		if r.Ident.Digest.Known() {
			byDigest[r.Ident.Digest] = append(byDigest[r.Ident.Digest], r)
		}
	}
	var tx state.Tx
	for _, a := range p.rows[state.A] {
		same := byDigest[a.Ident.Digest]
		if !a.Ident.Digest.Known() || len(same) == 0 {
			continue
		}
		b := same[0]
		byDigest[a.Ident.Digest] = same[1:]
		b.Ref[state.A] = a.Ref[state.A]
		// Flags start from what both share, as with every pair: the next run brings them
		// together.
		base := a.Flags[state.A].Intersect(b.Flags[state.B])
		if now := [2]mail.Flags{a.Flags[state.A], b.Flags[state.B]}; now != [2]mail.Flags{base, base} {
			p.rec.Cursor, p.rec.Stamp = [2]mail.Cursor{}, [2]string{} // or it would not be looked at
			tx.Mailboxes = []*state.Mailbox{p.rec}
		}
		b.Flags = [2]mail.Flags{base, base}
		b.Ident, b.Size = joinIdentity(a.Ident, b.Ident), a.Size
		if !a.Date.IsZero() {
			b.Date = a.Date
		}
		tx.Rows, tx.Delete = append(tx.Rows, b), append(tx.Delete, a.ID)
	}
	return commit(ctx, p.Journal, &tx, true)
}
