package imapstore

import (
	"context"
	"errors"

	"postbag/internal/mail"
)

// pageSize is how many known messages are held at a time.
const pageSize = 4096

// knownMessage is a message as the state remembers it.
type knownMessage struct {
	uid   uint32
	flags mail.Flags
}

// pager walks the known messages from one UID on, in UID order, a page at a
// time, so that it can be walked beside a listing that arrives.
type pager struct {
	known mail.Known
	next  uint64 // the first UID that was not read
	page  []knownMessage
	at    int
}

func newPager(known mail.Known, from uint64) *pager {
	return &pager{known: known, next: max(from, 1)}
}

// errPageFull ends a walk when the page is full.
var errPageFull = errors.New("page full")

// peek is the next known message, nil after the last one. It stays valid until
// the page is used up.
func (p *pager) peek(ctx context.Context) (*knownMessage, error) {
	if p.at < len(p.page) {
		return &p.page[p.at], nil
	}
	if p.next > maxUID {
		return nil, nil
	}
	if p.page == nil {
		p.page = make([]knownMessage, 0, min(pageSize, p.known.Count()+1))
	}
	p.page, p.at = p.page[:0], 0
	err := p.known.Each(ctx, mail.Ref{UID: uint32(p.next)}, mail.Ref{}, func(r mail.Ref, f mail.Flags) error {
		if r.UID == 0 {
			return nil // no message of an IMAP store
		}
		p.page = append(p.page, knownMessage{r.UID, f})
		if len(p.page) >= pageSize {
			return errPageFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return nil, err
	}
	if len(p.page) == 0 {
		p.next = maxUID + 1
		return nil, nil
	}
	p.next = uint64(p.page[len(p.page)-1].uid) + 1
	return &p.page[0], nil
}

// skip goes on to the message after the one that peek answered.
func (p *pager) skip() { p.at++ }

const maxUID = 1<<32 - 1

// lookUp calls fn for each of uids, which are sorted, with what is known of it;
// found is false when nothing is. UIDs that lie close together cost one walk.
func lookUp(ctx context.Context, known mail.Known, uids []uint32, fn func(i int, flags mail.Flags, found bool)) error {
	const gap = 32 // unknown neighbours that a walk may pass rather than end
	for start := 0; start < len(uids); {
		end := start + 1
		for end < len(uids) && uids[end]-uids[end-1] <= gap {
			end++
		}
		i := start
		err := known.Each(ctx, mail.Ref{UID: uids[start]}, mail.Ref{UID: uids[end-1]}, func(r mail.Ref, f mail.Flags) error {
			for i < end && uids[i] < r.UID {
				fn(i, mail.Flags{}, false)
				i++
			}
			if i < end && uids[i] == r.UID {
				fn(i, f, true)
				i++
			}
			return nil
		})
		if err != nil {
			return err
		}
		for ; i < end; i++ {
			fn(i, mail.Flags{}, false)
		}
		start = end
	}
	return nil
}
