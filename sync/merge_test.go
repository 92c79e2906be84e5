package sync

import (
	"strings"
	"testing"

	"postbag/state"
)

// What becomes of the subscription of a mailbox in every case there is: what was
// agreed on, what both sides have now, and what the run may change.
func TestMergeSubscription(t *testing.T) {
	t.Parallel()
	const both, onlyA, onlyB, none = "AB", "A", "B", ""
	// want is what both sides have afterwards, where both may be changed, only B may
	// be, only A may be, and neither may be.
	tests := []struct {
		base state.Subscription
		now  string
		want [4]string
	}{
		{state.Unknown, both, [4]string{both, both, both, both}},
		{state.Unknown, onlyA, [4]string{both, both, onlyA, onlyA}},
		{state.Unknown, onlyB, [4]string{both, onlyB, both, onlyB}},
		{state.Unknown, none, [4]string{none, none, none, none}},
		{state.Unsubscribed, both, [4]string{both, both, both, both}},
		{state.Unsubscribed, onlyA, [4]string{both, both, onlyA, onlyA}},
		{state.Unsubscribed, onlyB, [4]string{both, onlyB, both, onlyB}},
		{state.Unsubscribed, none, [4]string{none, none, none, none}},
		{state.Subscribed, both, [4]string{both, both, both, both}},
		{state.Subscribed, onlyA, [4]string{none, onlyA, none, onlyA}},
		{state.Subscribed, onlyB, [4]string{none, none, onlyB, onlyB}},
		{state.Subscribed, none, [4]string{none, none, none, none}},
	}
	mailboxes := Allow{Mailboxes: true}
	for _, test := range tests {
		for i, may := range [][2]Allow{{mailboxes, mailboxes}, {{}, mailboxes}, {mailboxes, {}}, {}} {
			now := [2]bool{strings.Contains(test.now, "A"), strings.Contains(test.now, "B")}
			do, after := mergeSubscription(Policy{May: may}, test.base, now)
			got, base := "", test.base // what it stays while the sides differ
			for s, name := range []string{"A", "B"} {
				if now[s] != do[s] {
					got += name
				}
			}
			switch got {
			case both:
				base = state.Subscribed
			case none:
				base = state.Unsubscribed
			}
			if got != test.want[i] || after != base {
				t.Errorf("base %v, now %q, may change %v: got %q and base %v, want %q and %v", test.base, test.now, may, got, after, test.want[i], base)
			}
		}
	}
}
