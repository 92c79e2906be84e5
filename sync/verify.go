package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// FindingKind says what is wrong with a message.
type FindingKind string

// The kinds of findings. Repaired is a note: nothing is wrong, and it is not counted.
const (
	Missing   FindingKind = "missing"   // one side has it, the other lacks it
	Extra     FindingKind = "extra"     // side B has it, nobody knows from where
	Different FindingKind = "different" // both have it, with other content
	Damaged   FindingKind = "damaged"   // side B's content is not what was stored
	FlagsKind FindingKind = "flags"     // both have it, with other flags
	Altered   FindingKind = "altered"   // side B has what a server is known to make of side A's
	Unread    FindingKind = "unreadable"
	Repaired  FindingKind = "repaired" // one side holds what the state says that was sent in place of it
)

// Finding is one difference that Verify found. Side is the side that lacks the
// message, or has it wrong; Ref is the message there, or on the other side when
// it lacks it.
type Finding struct {
	Kind    FindingKind
	Mailbox string
	Side    state.Side
	Ref     mail.Ref
	Size    int64
	Message mail.Message
	Text    string
}

// VerifyOptions say what to compare.
type VerifyOptions struct {
	A       mail.Store // nil: only side B is checked, against the state
	B       mail.Store
	Journal Journal
	Match   func(mail.MailboxInfo) bool
	Filter  Filter
	Deep    bool // fetch every message of side A and compare digests
	// Progress may be nil.
	Progress Progress
	// Found is called for each finding, from one goroutine.
	Found func(Finding)
}

// Verified is what Verify looked at.
type Verified struct {
	Mailboxes, Messages int
	Bytes               int64
	Findings            int
	Repaired            int // messages that one side holds repaired, where that was looked at
	Kept                int // messages that side A deleted and B keeps, as recorded
	Problems            []Problem
}

// Verify checks that side B holds what the state says, octet for octet, and that
// it is what side A holds. It changes nothing on either side or in the state.
// What side A deleted since, and a backup keeps, is no finding; a message that A
// deleted after the last run is one.
func Verify(ctx context.Context, o VerifyOptions) (*Verified, error) {
	if o.Match == nil {
		o.Match = func(mail.MailboxInfo) bool { return true }
	}
	if o.Progress == nil {
		o.Progress = silent{}
	}
	v := &verifier{VerifyOptions: o}
	records, err := o.Journal.Mailboxes(ctx)
	if err != nil {
		return &v.out, err
	}
	var listed [2][]mail.MailboxInfo
	for s, store := range []mail.Store{o.A, o.B} {
		if store == nil {
			continue
		}
		if listed[s], err = store.List(ctx); err != nil {
			return &v.out, err
		}
	}
	if err := v.unknownMailboxes(ctx, records, listed[state.A]); err != nil {
		return &v.out, err
	}
	for _, rec := range records {
		name := rec.Name[state.A]
		if name == "" {
			name = rec.Name[state.B]
		}
		if !o.Match(mail.MailboxInfo{Name: name, Use: rec.Use}) {
			continue
		}
		v.out.Mailboxes++
		v.mailbox = name
		if err := v.box(ctx, rec, listed); err != nil {
			e := mail.AsError(err)
			if e.Scope != mail.ScopeMailbox || ctx.Err() != nil {
				return &v.out, err
			}
			v.out.Problems = append(v.out.Problems, Problem{Mailbox: name, Kind: e.Kind, Reason: reason(e), Hint: e.Hint, Size: -1})
		}
	}
	return &v.out, nil
}

type verifier struct {
	VerifyOptions
	out     Verified
	mailbox string
	copies  string // the mailbox as side B has it
}

func (v *verifier) found(f Finding) {
	f.Mailbox = v.mailbox
	v.out.count(f)
	if v.Found != nil {
		v.Found(f)
	}
}

func (v *Verified) count(f Finding) {
	if f.Kind == Repaired {
		v.Repaired++
		return
	}
	v.Findings++
}

// unknownMailboxes finds the messages of mailboxes that were never copied.
func (v *verifier) unknownMailboxes(ctx context.Context, records []*state.Mailbox, listed []mail.MailboxInfo) error {
	for _, info := range listed {
		known := slices.ContainsFunc(records, func(r *state.Mailbox) bool { return r.Name[state.A] == info.Name })
		if known || info.NoSelect || !v.Match(info) {
			continue
		}
		v.mailbox = info.Name
		if info.Err != nil {
			v.out.Problems = append(v.out.Problems, Problem{Mailbox: info.Name, Kind: mail.KindOther, Reason: info.Err.Error(), Size: -1})
			continue
		}
		v.out.Mailboxes++
		if err := v.windows(ctx, info.Name, "", func(_ mail.Mailbox, list []mail.Message) error {
			for _, m := range list {
				if v.Filter.Pass(m) {
					v.found(Finding{Kind: Missing, Side: state.B, Ref: m.Ref, Size: m.Size, Message: m, Text: "not copied yet"})
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) box(ctx context.Context, rec *state.Mailbox, listed [2][]mail.MailboxInfo) error {
	has := func(s state.Side) bool {
		return rec.Name[s] != "" && slices.ContainsFunc(listed[s], func(i mail.MailboxInfo) bool { return i.Name == rec.Name[s] && !i.NoSelect })
	}
	v.copies = rec.Name[state.B]
	if err := v.local(ctx, rec, has(state.B)); err != nil {
		return err
	}
	if v.A == nil || rec.Gone[state.A] != 0 && !has(state.A) {
		return nil
	}
	return v.remote(ctx, rec, has(state.A))
}

// local checks side B against the state.
func (v *verifier) local(ctx context.Context, rec *state.Mailbox, there bool) error {
	var rows []*state.Row
	if err := v.Journal.Each(ctx, rec.ID, func(r *state.Row) error {
		switch {
		case r.Status != state.Here || r.Ref[state.A].IsZero() && r.Gone[state.A] == 0:
		case r.Alive(state.B):
			rows = append(rows, r)
		case r.Alive(state.A) && !r.Ref[state.B].IsZero():
			v.found(Finding{Kind: Missing, Side: state.B, Ref: r.Ref[state.B], Size: r.Size, Message: rowMessage(r, state.A),
				Text: "it was removed from the copy before the last run"})
		}
		return nil
	}); err != nil {
		return err
	}
	if !there {
		for _, r := range rows {
			v.missing(r)
		}
		return nil
	}
	mb, err := v.B.Examine(ctx, rec.Name[state.B])
	if err != nil {
		return err
	}
	defer mb.Close()
	for chunk := range slices.Chunk(rows, 500) {
		if err := v.localChunk(ctx, mb, chunk); err != nil {
			return err
		}
	}
	return v.extras(ctx, rec, mb)
}

func (v *verifier) missing(r *state.Row) {
	v.found(Finding{Kind: Missing, Side: state.B, Ref: r.Ref[state.B], Size: r.Size, Message: rowMessage(r, state.A), Text: "its file is gone from the copy"})
}

func (v *verifier) localChunk(ctx context.Context, mb mail.Mailbox, rows []*state.Row) error {
	var refs []mail.Ref
	for _, r := range rows {
		refs = append(refs, r.Ref[state.B])
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	there := make(map[mail.Ref]mail.Message, len(refs))
	if err := mb.Describe(ctx, refs, true, func(m mail.Message) error {
		there[m.Ref] = m
		return nil
	}); err != nil {
		return err
	}
	for _, r := range rows {
		m, ok := there[r.Ref[state.B]]
		want := rowMessage(r, state.B).ID.Digest
		v.out.Messages++
		v.out.Bytes += max(r.Size, 0)
		if r.Gone[state.A] != 0 {
			v.out.Kept++
		}
		switch {
		case !ok:
			v.missing(r)
		case want.Known() && m.ID.Digest != want:
			v.found(Finding{Kind: Damaged, Side: state.B, Ref: r.Ref[state.B], Size: r.Size, Message: rowMessage(r, state.B),
				Text: fmt.Sprintf("stored as %s, now %s", want, m.ID.Digest)})
		case v.Deep && r.Sent != nil && r.Sent.Side == state.B:
			v.found(repairedFinding(r))
		}
		v.Progress.Done(1, max(r.Size, 0))
	}
	return nil
}

// extras finds messages of side B that never came from side A.
func (v *verifier) extras(ctx context.Context, rec *state.Mailbox, mb mail.Mailbox) error {
	paired := make(map[mail.Ref]bool)
	if err := v.Journal.Each(ctx, rec.ID, func(r *state.Row) error {
		if (!r.Ref[state.A].IsZero() || r.Gone[state.A] != 0) && !r.Ref[state.B].IsZero() {
			paired[r.Ref[state.B]] = true
		}
		return nil
	}); err != nil {
		return err
	}
	return eachWindow(ctx, mb, func(list []mail.Message) error {
		for _, m := range list {
			if !paired[m.Ref] {
				v.found(Finding{Kind: Extra, Side: state.A, Ref: m.Ref, Size: m.Size, Message: m, Text: "it did not come from the other side"})
			}
		}
		return nil
	})
}

// eachWindow lists all messages of a mailbox.
func eachWindow(ctx context.Context, mb mail.Mailbox, fn func([]mail.Message) error) error {
	return mail.Windows(ctx, mb, 20000, func(d *mail.Delta) error { return fn(d.New) })
}

// windows opens a mailbox of side A and lists it.
func (v *verifier) windows(ctx context.Context, name, validity string, fn func(mail.Mailbox, []mail.Message) error) error {
	mb, err := v.A.Examine(ctx, name)
	if err != nil {
		return err
	}
	defer mb.Close()
	if validity != "" && mb.Info().Validity != validity {
		return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindOther, Err: errVoid, Hint: "run the backup first: it matches the messages by content"}
	}
	return eachWindow(ctx, mb, func(list []mail.Message) error { return fn(mb, list) })
}

// remote checks side A against the state.
func (v *verifier) remote(ctx context.Context, rec *state.Mailbox, there bool) error {
	rows := make(map[mail.Ref]*state.Row)
	if err := v.Journal.Each(ctx, rec.ID, func(r *state.Row) error {
		if r.Alive(state.A) {
			rows[r.Ref[state.A]] = r
		}
		return nil
	}); err != nil {
		return err
	}
	if there {
		if err := v.windows(ctx, rec.Name[state.A], rec.Validity[state.A], func(mb mail.Mailbox, list []mail.Message) error {
			return v.remoteWindow(ctx, mb, list, rows)
		}); err != nil {
			return err
		}
	}
	left := make([]*state.Row, 0, len(rows))
	for _, r := range rows {
		left = append(left, r)
	}
	slices.SortFunc(left, func(a, b *state.Row) int { return a.Ref[state.A].Compare(b.Ref[state.A]) })
	for _, r := range left {
		if r.Alive(state.B) {
			v.found(Finding{Kind: Missing, Side: state.A, Ref: r.Ref[state.B], Size: r.Size, Message: rowMessage(r, state.B),
				Text: "deleted there since the last run; the copy still has it"})
		}
	}
	return nil
}

// remoteWindow compares a window of side A's messages with their rows, which it
// takes out of rows.
func (v *verifier) remoteWindow(ctx context.Context, mb mail.Mailbox, list []mail.Message, rows map[mail.Ref]*state.Row) error {
	compare := make(map[mail.Ref]*state.Row)
	var refs []mail.Ref
	for _, m := range list {
		r := rows[m.Ref]
		delete(rows, m.Ref)
		switch {
		case r == nil || r.Ref[state.B].IsZero():
			if v.Filter.Pass(m) {
				v.found(Finding{Kind: Missing, Side: state.B, Ref: m.Ref, Size: m.Size, Message: m, Text: "not copied yet"})
			}
			continue
		case !r.Alive(state.B): // removed from the copy on purpose, and known to be
			continue
		case !r.Flags[state.A].Equal(m.Flags):
			v.found(Finding{Kind: FlagsKind, Side: state.B, Ref: r.Ref[state.B], Size: m.Size, Message: m,
				Text: fmt.Sprintf("flags changed since the last run: were [%s], are [%s]", r.Flags[state.A], m.Flags)})
		}
		if size := rowMessage(r, state.A).Size; v.Deep || m.Size >= 0 && size >= 0 && m.Size != size {
			compare[m.Ref] = r
			refs = append(refs, m.Ref)
		}
	}
	return v.compare(ctx, mb, refs, compare)
}

// compare reads messages of side A and compares their digests with the state's.
func (v *verifier) compare(ctx context.Context, mb mail.Mailbox, refs []mail.Ref, rows map[mail.Ref]*state.Row) error {
	if len(refs) == 0 {
		return nil
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	var differ []difference
	err := mb.Fetch(ctx, refs, func(f mail.Fetched) error {
		r := rows[f.Ref]
		if r == nil {
			return nil
		}
		delete(rows, f.Ref)
		defer v.Progress.Done(1, max(r.Size, 0))
		if f.Err != nil {
			v.found(Finding{Kind: Unread, Side: state.A, Ref: f.Ref, Size: r.Size, Message: f.Message, Text: reason(f.Err)})
			return nil
		}
		m := newMeter(f.Body)
		if _, err := io.Copy(io.Discard, m); err != nil {
			if isScope(err, mail.ScopeMessage) {
				v.found(Finding{Kind: Unread, Side: state.A, Ref: f.Ref, Size: r.Size, Message: f.Message, Text: err.Error()})
				return nil
			}
			return err
		}
		id, want := m.identity(mail.Identity{}), rowMessage(r, state.A).ID.Digest
		switch {
		case want.Known() && id.Digest != want:
			differ = append(differ, difference{r, f.Message, m.n, want, id.Digest})
		case r.Sent != nil && r.Sent.Side == state.A:
			v.found(repairedFinding(r))
		}
		return nil
	})
	if err == nil {
		err = v.differences(ctx, differ)
	}
	if err != nil {
		return err
	}
	for _, r := range rows {
		v.found(Finding{Kind: Missing, Side: state.A, Ref: r.Ref[state.B], Size: r.Size, Message: rowMessage(r, state.B), Text: errVanished.Error()})
	}
	return nil
}

// difference is a message of side A that is not what its row says.
type difference struct {
	row    *state.Row
	msg    mail.Message
	size   int64
	want   mail.Digest // of the row
	digest mail.Digest
}

// textAdded is for messages that another sync program put a line into.
const textAdded = "equal but for a line X-TUID, which mbsync added when it copied the message"

// differences tells of messages that differ, and of those whose copy has a line that
// another sync program added.
func (v *verifier) differences(ctx context.Context, differ []difference) error {
	if len(differ) == 0 {
		return nil
	}
	plain := make(map[mail.Ref]mail.Digest)
	var refs []mail.Ref
	for _, d := range differ {
		if ref := d.row.Ref[state.B]; !ref.IsZero() {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	copies, err := v.B.Examine(ctx, v.copies)
	if err != nil {
		return err
	}
	defer copies.Close()
	if err := copies.Describe(ctx, refs, true, func(m mail.Message) error {
		plain[m.Ref] = m.ID.Plain
		return nil
	}); err != nil {
		return err
	}
	for _, d := range differ {
		f := Finding{Kind: Different, Side: state.A, Ref: d.msg.Ref, Size: d.size, Message: d.msg,
			Text: fmt.Sprintf("the copy is of %s, the server now gives %s", d.want, d.digest)}
		if plain[d.row.Ref[state.B]] == d.digest {
			f.Kind, f.Side, f.Ref, f.Text = Altered, state.B, d.row.Ref[state.B], textAdded
		}
		v.found(f)
	}
	return nil
}

var errVanished = errors.New("it vanished while it was compared")
