package sync_test

import (
	"fmt"
	"testing"

	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// Many mailboxes of which none changed: what every run plans first.
func BenchmarkPlanTree(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in := sync.TreeInput{Policy: sync.TwoWay(), Excluded: func(string) bool { return false }}
			for i := range n {
				name, validity := fmt.Sprintf("Archive/%d/%d", i/50, i), fmt.Sprint(i+1)
				in.Records = append(in.Records, &state.Mailbox{ID: int64(i + 1), Name: [2]string{name, name}, Validity: [2]string{validity, validity}})
				for s := range in.Listed {
					in.Listed[s] = append(in.Listed[s], mail.MailboxInfo{Name: name, Validity: validity})
				}
			}
			for b.Loop() {
				if got := sync.PlanTree(in); len(got) != n {
					b.Fatalf("got %d joins, want %d", len(got), n)
				}
			}
		})
	}
}
