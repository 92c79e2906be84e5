package sync

import (
	"postbag/internal/mail"
	"postbag/state"
)

// ahead is what Progress was told to expect of a box and that has not been
// planned yet.
type ahead struct {
	messages int
	bytes    int64
}

// announce tells Progress what the boxes have to be copied, as far as a look
// tells: of a mailbox that comes in windows it is reckoned from its size.
func (r *run) announce(boxes []*box) {
	for _, b := range boxes {
		for _, s := range []state.Side{state.A, state.B} {
			if b.err == nil && r.Policy.May[s.Other()].New {
				one := r.arrivals(b, s)
				b.ahead.messages += one.messages
				b.ahead.bytes += one.bytes
				r.Progress.Expect(one.messages, one.bytes)
			}
		}
	}
}

// arrivals is what is new on a side of a box.
func (r *run) arrivals(b *box, s state.Side) ahead {
	d := &b.delta[s]
	a := ahead{messages: len(d.New)}
	for i := range d.New {
		a.bytes += max(d.New[i].Size, 0)
	}
	all := windowed(d, b.info[s])
	if all > a.messages && a.messages > 0 {
		all = max(all-r.held(b, s), a.messages)
		a = ahead{all, a.bytes / int64(a.messages) * int64(all)}
	}
	return a
}

// windowed is how many messages a mailbox has of which d lists only some; 0 when
// d lists all, or nobody knows.
func windowed(d *mail.Delta, info *mail.MailboxInfo) int {
	if !d.More || info == nil {
		return 0
	}
	return max(info.Messages, 0)
}

// expect tells Progress of copies that are about to be made, unless they were
// announced.
func (r *run) expect(b *box, messages int, bytes int64) {
	known := ahead{min(messages, b.ahead.messages), min(bytes, b.ahead.bytes)}
	b.ahead.messages -= known.messages
	b.ahead.bytes -= known.bytes
	r.Progress.Expect(messages-known.messages, bytes-known.bytes)
}

// takeBack tells Progress what of the announced was not to be copied after all.
func (r *run) takeBack(b *box) {
	r.Progress.Expect(-b.ahead.messages, -b.ahead.bytes)
	b.ahead = ahead{}
}
