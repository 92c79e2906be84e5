package export

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"io"
	"math"
	"slices"

	"postbag/internal/mail"
)

// listed is a message that is to be written, as small as it can be: there may be a
// million of them.
type listed struct {
	ref   mail.Ref
	date  int64 // seconds since 1970; the least number for none
	size  int64 // -1 when not known
	flags mail.Flags
	tie   *tie // of those that share their date with others
}

// tie tells messages of one second apart.
type tie struct {
	id     mail.MessageID
	digest mail.Digest
}

// window is how many messages are listed at a time.
const window = 20000

// list lists what is to be written of a mailbox, in the order of the archive: by
// date, Message-ID, content and flags, which are the same wherever the mailbox is.
func (r *run) list(ctx context.Context, mb mail.Mailbox) (all []listed, err error) {
	err = mail.Windows(ctx, mb, window, func(d *mail.Delta) error {
		r.Grown(len(all))
		for i := range d.New {
			m := &d.New[i]
			if !r.Filter(*m) || !r.match.Flags(m.Flags) {
				continue
			}
			one := listed{ref: m.Ref, date: math.MinInt64, size: m.Size, flags: m.Flags}
			if !m.Date.IsZero() {
				one.date = m.Date.Unix()
			}
			all = append(all, one)
		}
		if d.Missing > 0 {
			r.problem(Problem{Mailbox: mb.Info().Name, Size: -1, Err: &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindProtocol, Err: errString("messages are left out: " + d.Unsettled)}})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if all, err = r.choose(ctx, mb, all); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b listed) int { return cmp.Or(cmp.Compare(a.date, b.date), a.ref.Compare(b.ref)) })
	if err := r.untie(ctx, mb, all); err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, listed.compare)
	return all, nil
}

// headerReader is a mailbox that can read headers alone: fn gets each message with
// its header, and those that are gone are left out.
type headerReader interface {
	Headers(ctx context.Context, refs []mail.Ref, fn func(m mail.Message, header []byte) error) error
}

// choose leaves out what the headers say is not meant, where they can be had without
// the rest: a server sends much less then. Elsewhere the whole message tells.
func (r *run) choose(ctx context.Context, mb mail.Mailbox, all []listed) ([]listed, error) {
	h, ok := mb.(headerReader)
	if !ok || !r.match.NeedsHeader() || len(all) == 0 {
		return all, nil
	}
	refs := make([]mail.Ref, len(all))
	for i := range all {
		refs[i] = all[i].ref
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	out := map[mail.Ref]bool{} // what has no header that can be read stays: to be named, if it is there
	err := h.Headers(ctx, refs, func(m mail.Message, header []byte) error {
		if !r.headed(header) {
			out[m.Ref] = true
		}
		return nil
	})
	return slices.DeleteFunc(all, func(l listed) bool { return out[l.ref] }), err
}

func (a listed) compare(b listed) int {
	if c := cmp.Compare(a.date, b.date); c != 0 || a.tie == nil || b.tie == nil {
		return c
	}
	return cmp.Or(cmp.Compare(a.tie.id, b.tie.id), bytes.Compare(a.tie.digest[:], b.tie.digest[:]), cmp.Compare(a.flags.String(), b.flags.String()))
}

// untie finds out what tells messages of one second apart. all is sorted by date.
func (r *run) untie(ctx context.Context, mb mail.Mailbox, all []listed) error {
	ties := map[mail.Ref]*tie{}
	var refs []mail.Ref
	for i := range all {
		if i > 0 && all[i-1].date == all[i].date || i+1 < len(all) && all[i+1].date == all[i].date {
			all[i].tie = &tie{}
			ties[all[i].ref] = all[i].tie
			refs = append(refs, all[i].ref)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	err := mb.Describe(ctx, refs, true, func(m mail.Message) error {
		if t := ties[m.Ref]; t != nil {
			t.id, t.digest = m.ID.MessageID, m.ID.Digest
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.readTies(ctx, mb, all, ties)
}

// readTies reads the messages that nothing but their content tells apart.
func (r *run) readTies(ctx context.Context, mb mail.Mailbox, all []listed, ties map[mail.Ref]*tie) error {
	type key struct {
		date int64
		id   mail.MessageID
	}
	same := map[key]int{}
	for _, l := range all {
		if l.tie != nil {
			same[key{l.date, l.tie.id}]++
		}
	}
	var refs []mail.Ref
	for _, l := range all {
		if l.tie != nil && same[key{l.date, l.tie.id}] > 1 && !l.tie.digest.Known() {
			refs = append(refs, l.ref)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	return mb.Fetch(ctx, refs, func(f mail.Fetched) error {
		t := ties[f.Ref]
		if f.Err != nil || t == nil {
			return nil
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, f.Body); err != nil {
			return messageOnly(err)
		}
		sum.Sum(t.digest[:0])
		return nil
	})
}

// messageOnly is nil for an error that concerns one message.
func messageOnly(err error) error {
	if mail.AsError(err).Scope == mail.ScopeMessage {
		return nil
	}
	return err
}

// chunks cuts what is listed into pieces that are read together.
func chunks(all []listed) (list [][]listed) {
	from, bytes := 0, int64(0)
	for i, l := range all {
		if i > from && (i-from >= chunkMessages || bytes+max(l.size, 0) > chunkBytes || l.size < 0 && i-from >= chunkUnsized) {
			list = append(list, all[from:i])
			from, bytes = i, 0
		}
		bytes += max(l.size, 0)
	}
	if from < len(all) {
		list = append(list, all[from:])
	}
	return list
}

type errString string

func (e errString) Error() string { return string(e) }
