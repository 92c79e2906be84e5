package sync

import (
	"postbag/internal/mail"
)

// hintFull is for a message that there was no room for.
const hintFull = "make room there, or have its quota raised, and run it again: it goes on where it was"

// hintRefused is for a run that ends at a message.
const hintRefused = "what was copied stays: see to this message and run it again, or have it left out with --refused skip"

// leaveOut notes a message that is not copied, or that is to be repaired first. One that the side written to does
// not take ends the run, where the options say so. The caller holds the lock.
func (c *copier) leaveOut(q quarantined) {
	if c.mendable(q) {
		c.mends = append(c.mends, q)
		return
	}
	c.bad = append(c.bad, q)
	if !c.r.FailRefused || q.side != c.to || c.err != nil {
		return
	}
	row := q.row
	c.r.rep.problem(Problem{Mailbox: c.b.name(), Side: c.from, Ref: row.Ref[c.from], Date: row.Date, Size: row.Size,
		Kind: q.err.Kind, Reason: reason(q.err), Hint: q.err.Hint})
	kind := mail.KindRefused
	if q.err.Kind == mail.KindQuota { // it is not about the message
		kind = mail.KindQuota
	}
	c.err = &mail.Error{Scope: mail.ScopeAccount, Kind: kind, Op: "copy", Mailbox: c.b.name(), Ref: row.Ref[c.from],
		Err: q.err.Err, Hint: hintRefused}
}
