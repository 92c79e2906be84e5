package sync

import (
	"context"
	"io"
	"maps"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// nothing is the Known of a mailbox that the state has never seen.
type nothing struct{}

func (nothing) Count() int { return 0 }
func (nothing) Each(context.Context, mail.Ref, mail.Ref, func(mail.Ref, mail.Flags) error) error {
	return nil
}

func (r *run) knownOf(b *box, s state.Side) mail.Known {
	if b.rec.ID <= 0 {
		return nothing{}
	}
	return r.Journal.Known(b.rec.ID, s)
}

// look asks the sides of a box what happened, and finds out enough about what is
// new to tell what is one message.
func (r *run) look(ctx context.Context, b *box, limit int) error {
	var open sides
	defer open.close()
	for _, s := range []state.Side{state.B, state.A} {
		if err := r.lookAt(ctx, b, s, &open, limit); err != nil {
			return err
		}
	}
	if b.orphan {
		if err := r.lookOrphan(ctx, b); err != nil {
			return err
		}
		if !b.orphan { // it was made again
			if err := r.lookAt(ctx, b, b.lost, &open, limit); err != nil {
				return err
			}
		}
	}
	if err := r.touched(ctx, b); err != nil {
		return err
	}
	return r.identify(ctx, b, &open)
}

// lookAt asks one side of a box what happened, when it is to be looked at.
func (r *run) lookAt(ctx context.Context, b *box, s state.Side, open *sides, limit int) error {
	if b.info[s] == nil || !b.look[s] && len(b.retry) == 0 {
		return nil
	}
	mb, err := r.openToLook(ctx, b, s)
	if err != nil {
		return err
	}
	open[s] = mb
	info := mb.Info()
	if info.ObjectID != "" {
		b.rec.ObjectID[s] = info.ObjectID
	}
	if err := r.checkValidity(ctx, b, s, info.Validity); err != nil {
		return err
	}
	if !b.look[s] {
		return nil
	}
	if b.rec.Cursor[s] == "" && b.info[1-s] != nil {
		b.trust = max(b.trust, r.adopting(b))
	}
	return r.changes(ctx, b, s, mb, limit)
}

// openToLook opens a side to find out what happened. One that could not say so
// without being opened, and in most runs has nothing to tell, is only read.
func (r *run) openToLook(ctx context.Context, b *box, s state.Side) (mail.Mailbox, error) {
	if b.info[s].Stamp == "" && b.rec.Cursor[s] != "" {
		return r.store[s].Examine(ctx, b.rec.Name[s])
	}
	return r.open(ctx, b, s)
}

// adopting is the trust for a mailbox that is listed from the beginning: one
// that the state has never seen was filled by somebody else.
func (r *run) adopting(b *box) Trust {
	if r.held(b, state.A) > 0 || r.held(b, state.B) > 0 {
		return TrustDate
	}
	return TrustID
}

// checkValidity voids the refs of a side when its validity changed.
func (r *run) checkValidity(ctx context.Context, b *box, s state.Side, validity string) error {
	if b.rec.Validity[s] == validity && validity != "" {
		return r.comesBack(ctx, b, s)
	}
	if r.DryRun {
		if b.rec.Validity[s] != "" {
			return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindOther, Mailbox: b.name(), Err: errVoid,
				Hint: "a run without --dry-run matches its messages by content; nothing is deleted"}
		}
		return nil
	}
	if b.rec.Cursor[s] == "" && b.rec.Validity[s] == "" && b.rec.Gone[s] == 0 && r.held(b, s) == 0 {
		// On record before any row is, or a crash would make the rows look void.
		b.rec.Validity[s] = validity
		return r.save(ctx, b)
	}
	return r.void(ctx, b, s, validity)
}

// changes takes one delta of a side. Messages that have a row are taken out of
// New: a store may list more than is new.
func (r *run) changes(ctx context.Context, b *box, s state.Side, mb mail.Mailbox, limit int) error {
	known := r.knownOf(b, s)
	d, err := mb.Changes(ctx, b.rec.Cursor[s], known, limit)
	if err != nil {
		return err
	}
	b.heard[s] = !d.Empty()
	if len(d.New) > 0 && known.Count() > 0 {
		have := make(map[mail.Ref]bool)
		from, to := d.New[0].Ref, d.New[len(d.New)-1].Ref
		if err := known.Each(ctx, from, to, func(ref mail.Ref, _ mail.Flags) error {
			have[ref] = true
			return nil
		}); err != nil {
			return err
		}
		d.New = slices.DeleteFunc(d.New, func(m mail.Message) bool { return have[m.Ref] })
	}
	r.late.identify(b, s, d.New)
	r.unsettled(b, s, &d)
	b.delta[s] = d
	return r.altered(ctx, b, s, d.Altered)
}

// unsettled reports what a delta could not tell: messages that cannot be had are
// left out, deletions only wait.
func (r *run) unsettled(b *box, s state.Side, d *mail.Delta) {
	p := Problem{Mailbox: b.name(), Side: s, Size: -1, Kind: mail.KindOther, Hint: "the next run looks again"}
	switch {
	case d.Missing > 0:
		p.Kind, p.Reason = mail.KindProtocol, "messages are left out: "+d.Unsettled
	case d.Unsettled != "":
		p.Warning, p.Reason = true, "deletions were not looked at: "+d.Unsettled
	default:
		return
	}
	r.rep.problem(p)
}

// touched loads the rows that the deltas name.
func (r *run) touched(ctx context.Context, b *box) error {
	have := make(map[int64]bool)
	for s, d := range b.delta {
		refs := slices.Clone(d.Gone)
		for _, f := range d.Flags {
			refs = append(refs, f.Ref)
		}
		if len(refs) == 0 || b.rec.ID <= 0 {
			continue
		}
		rows, err := r.Journal.ByRef(ctx, b.rec.ID, state.Side(s), refs)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if !have[row.ID] {
				have[row.ID] = true
				b.rows = append(b.rows, row)
			}
		}
	}
	if b.rec.ID > 0 && b.rec.Filter != r.scope() {
		return r.refilter(ctx, b)
	}
	return nil
}

// scope says which new messages are copied, and so under what the cursors are
// taken: the filter, and the sides that take any. The one of a backup is the
// filter's alone.
func (r *run) scope() string {
	key := r.Filter.Key()
	switch a, b := r.Policy.May[state.A].New, r.Policy.May[state.B].New; {
	case a && b:
		key += " to=ab"
	case a:
		key += " to=a"
	case !b:
		key += " to="
	}
	return key
}

// refilter looks again at the messages that the last run's filter left out.
func (r *run) refilter(ctx context.Context, b *box) error {
	for _, s := range []state.Side{state.A, state.B} {
		if !r.Policy.May[s.Other()].New {
			continue
		}
		if err := r.aloneRows(ctx, b, s, false); err != nil {
			return err
		}
	}
	return nil
}

// aloneRows adds the rows of one side to those that are to be copied; with lost also
// those that the other side had, and was seen to lose.
func (r *run) aloneRows(ctx context.Context, b *box, s state.Side, lost bool) error {
	for after := int64(0); ; {
		rows, err := r.Journal.AloneRows(ctx, b.rec.ID, s, after, 1000)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, row := range rows {
			after = row.ID
			if (lost || row.Gone[s.Other()] == 0) && r.Filter.Pass(rowMessage(row, s)) {
				b.line(row)
			}
		}
	}
}

// identify describes the new messages that may be equal to something on the
// other side, and loads the rows there that they may be equal to.
func (r *run) identify(ctx context.Context, b *box, open *sides) error {
	for _, s := range []state.Side{state.A, state.B} {
		if err := r.measure(ctx, b, s, open[s]); err != nil {
			return err
		}
	}
	for s := range b.delta {
		o := 1 - s
		if b.look[s] && b.rec.Cursor[s] == "" && b.rec.ID > 0 {
			if err := r.ghosts(ctx, b, state.Side(s)); err != nil {
				return err
			}
		}
		sizes := newSizes(b, state.Side(o))
		if b.info[s] == nil || b.rec.ID <= 0 || len(sizes) == 0 {
			continue
		}
		var err error
		if b.alone[s], err = r.Journal.AloneBySize(ctx, b.rec.ID, state.Side(s), sizes); err != nil {
			return err
		}
	}
	in := r.input(b)
	refs := undescribed([2][]*arrival{arrivals(in, state.A), arrivals(in, state.B)})
	for _, s := range []state.Side{state.B, state.A} {
		if len(refs[s]) == 0 || b.info[s] == nil {
			continue
		}
		if open[s] == nil {
			mb, err := r.open(ctx, b, s)
			if err != nil {
				return err
			}
			open[s] = mb
		}
		if err := describe(ctx, b, s, open[s], refs[s]); err != nil {
			return err
		}
		if s == state.B { // sizes that were not known may spare side A's descriptions
			in = r.input(b)
			refs = undescribed([2][]*arrival{arrivals(in, state.A), arrivals(in, state.B)})
		}
	}
	return r.fathom(ctx, b, open)
}

// measure finds the sizes of the new messages of a side that does not list them, and
// of those that are to be copied now and were never measured, when they decide whether
// a message is copied, or there are rows of the other side alone that they may be equal
// to.
func (r *run) measure(ctx context.Context, b *box, s state.Side, mb mail.Mailbox) error {
	var refs []mail.Ref
	for _, m := range b.delta[s].New {
		if m.Size < 0 && !m.ID.Described {
			refs = append(refs, m.Ref)
		}
	}
	for _, row := range b.retry {
		if row.Alone(s) && row.Size < 0 && !row.Ident.Described {
			refs = append(refs, row.Ref[s])
		}
	}
	if len(refs) == 0 || mb == nil {
		return nil
	}
	if r.Filter.bySize() && r.Policy.May[s.Other()].New {
		return describe(ctx, b, s, mb, refs)
	}
	if b.rec.ID <= 0 {
		return nil
	}
	rows, err := r.Journal.AloneRows(ctx, b.rec.ID, s.Other(), 0, 1)
	if err != nil || len(rows) == 0 {
		return err
	}
	return describe(ctx, b, s, mb, refs)
}

// newSizes are the sizes of the messages of side s that have no counterpart, and
// -1, which stands for any, when there are any.
func newSizes(b *box, s state.Side) []int64 {
	sizes := make(map[int64]bool)
	for _, m := range b.delta[s].New {
		sizes[m.Size] = true
		if b.trust == TrustID && m.Size >= 0 {
			sizes[m.Size-m.ID.Added], sizes[m.Size+mail.AddedLine] = true, true
		}
	}
	for _, row := range b.retry {
		if row.Alone(s) {
			sizes[row.Size] = true
		}
	}
	if len(sizes) == 0 {
		return nil
	}
	sizes[-1] = true
	return slices.Sorted(maps.Keys(sizes))
}

// describe fills in what Describe finds for messages of side s, among the new
// ones and the rows.
func describe(ctx context.Context, b *box, s state.Side, mb mail.Mailbox, refs []mail.Ref) error {
	learn := learner(b, s)
	slices.SortFunc(refs, mail.Ref.Compare)
	return mb.Describe(ctx, refs, true, func(m mail.Message) error {
		learn(m)
		return nil
	})
}

// learner takes in what is found out about messages of side s, among the new ones
// and the rows.
func learner(b *box, s state.Side) func(mail.Message) {
	byRef := make(map[mail.Ref]func(mail.Message))
	for _, list := range [][]*state.Row{b.alone[s], b.retry} {
		for _, row := range list {
			if row.Alone(s) {
				byRef[row.Ref[s]] = func(m mail.Message) {
					row.Size, row.Ident = m.Size, joinIdentity(m.ID, row.Ident)
					b.learned = append(b.learned, row)
				}
			}
		}
	}
	for i := range b.delta[s].New {
		n := &b.delta[s].New[i]
		byRef[n.Ref] = func(m mail.Message) { n.Size, n.ID = m.Size, joinIdentity(m.ID, n.ID) }
	}
	return func(m mail.Message) {
		if set := byRef[m.Ref]; set != nil {
			set(m)
		}
	}
}

// fathom reads messages that ones of the other side may be, where nothing but their
// content can tell: with it on record, what comes from there is compared before it
// is copied, or before it lands.
func (r *run) fathom(ctx context.Context, b *box, open *sides) error {
	in := r.input(b)
	both := [2][]*arrival{arrivals(in, state.A), arrivals(in, state.B)}
	match(both, in.Trust)
	for s, refs := range unfathomed(in, both) {
		if len(refs) == 0 || b.info[s] == nil {
			continue
		}
		if open[s] == nil {
			mb, err := r.open(ctx, b, state.Side(s))
			if err != nil {
				return err
			}
			open[s] = mb
		}
		if err := digest(ctx, open[s], refs, learner(b, state.Side(s))); err != nil {
			return err
		}
	}
	return nil
}

// digest reads messages, and hands them on with their digests. One that cannot be
// read is left out.
func digest(ctx context.Context, mb mail.Mailbox, refs []mail.Ref, learn func(mail.Message)) error {
	return mb.Fetch(ctx, refs, func(f mail.Fetched) error {
		if f.Err != nil {
			return nil
		}
		m := newMeter(f.Body)
		if _, err := io.Copy(io.Discard, m); err != nil {
			if isScope(err, mail.ScopeMessage) {
				return nil
			}
			return err
		}
		f.Size, f.ID = m.n, m.identity(f.ID)
		learn(f.Message)
		return nil
	})
}
