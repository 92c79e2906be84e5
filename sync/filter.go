package sync

import (
	"fmt"
	"time"

	"postbag/internal/mail"
)

// Filter says which messages are copied. It never makes anything deleted: a
// message that does not pass is left where it is, and looked at again when the
// filter changes. Zero fields do not restrict. What is not known of a message
// does not exclude it.
type Filter struct {
	Since, Before   time.Time // INTERNALDATE at or after, before
	Larger, Smaller int64     // octets of the wire form: more than, less than
}

// Pass reports whether m is to be copied.
func (f Filter) Pass(m mail.Message) bool {
	if !m.Date.IsZero() && (!f.Since.IsZero() && m.Date.Before(f.Since) || !f.Before.IsZero() && !m.Date.Before(f.Before)) {
		return false
	}
	if m.Size >= 0 && (f.Larger > 0 && m.Size <= f.Larger || f.Smaller > 0 && m.Size >= f.Smaller) {
		return false
	}
	return true
}

// bySize reports whether the size of a message decides.
func (f Filter) bySize() bool { return f.Larger > 0 || f.Smaller > 0 }

// Key is equal for equal filters, "" for the one that lets everything pass.
func (f Filter) Key() string {
	if f == (Filter{}) {
		return ""
	}
	unix := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.Unix()
	}
	return fmt.Sprintf("since=%d before=%d larger=%d smaller=%d", unix(f.Since), unix(f.Before), f.Larger, f.Smaller)
}
