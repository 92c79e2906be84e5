package sync

import (
	"fmt"

	"postbag/internal/mail"
	"postbag/state"
)

// Limits are the bounds of the guard against mass deletion. The zero Limits
// stands for the default ones.
type Limits struct {
	// Max, when set, is the number of messages that may be deleted on one side in
	// one run; the other bounds then do not apply.
	Max int
	// Off lets everything through.
	Off bool
}

// The default bounds: a mailbox may lose fewer than guardMessages messages, or
// less than guardPercent of them; one that held guardEmpty or more may not lose
// them all; an account may not lose more than guardAccountPercent, unless that is
// fewer than guardMessages.
const (
	guardMessages       = 20
	guardPercent        = 20
	guardEmpty          = 5
	guardAccountPercent = 10
)

// Loss is what a plan would delete of one mailbox on one side.
type Loss struct {
	Mailbox string
	Side    state.Side
	Delete  int // messages to be deleted
	Held    int // messages that the side held at the last run
	// Whole says that the mailbox itself was deleted on the other side, and that
	// the policy follows: its own bounds do not apply, the account's do.
	Whole bool
}

// Guard refuses plans that look like an accident. It answers nil, or a
// mail.Error of KindGuard that names the first bound that is passed. Losses
// without deletions count toward what the account holds.
func Guard(losses []Loss, l Limits) error {
	if l.Off {
		return nil
	}
	var deleted, held [2]int
	for _, x := range losses {
		deleted[x.Side] += x.Delete
		held[x.Side] += x.Held
		if l.Max > 0 || x.Delete == 0 || x.Whole {
			continue
		}
		if x.Delete >= guardMessages && x.Delete*100 >= x.Held*guardPercent {
			return refuse(x.Mailbox, "%d of %d messages would be deleted in this mailbox", x.Delete, x.Held)
		}
		if x.Delete >= x.Held && x.Held >= guardEmpty {
			return refuse(x.Mailbox, "all %d messages would be deleted in this mailbox", x.Held)
		}
	}
	for s := range deleted {
		if l.Max > 0 && deleted[s] > l.Max {
			return refuse("", "%d messages would be deleted, more than the %d allowed", deleted[s], l.Max)
		}
		if l.Max == 0 && deleted[s] >= guardMessages && deleted[s]*100 > held[s]*guardAccountPercent {
			return refuse("", "%d of %d messages would be deleted", deleted[s], held[s])
		}
	}
	return nil
}

func refuse(mailbox, format string, args ...any) error {
	return &mail.Error{
		Scope: mail.ScopeAccount, Kind: mail.KindGuard, Op: "guard", Mailbox: mailbox, Err: fmt.Errorf(format, args...),
		Hint: "none of it was deleted; look with --dry-run, and if this is what you want, use --force-deletes or a larger --max-delete",
	}
}
