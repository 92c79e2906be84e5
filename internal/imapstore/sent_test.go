package imapstore

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"postbag/internal/mail"
)

// Of the messages that were sent those are told that have another size when they
// are listed, each once, in whatever order they were sent and listed; a mailbox that
// was made anew tells nothing.
func TestSentMessagesOfAnotherSize(t *testing.T) {
	t.Parallel()
	const n = 100
	var s sent
	uids := rand.Perm(n)
	for _, i := range uids {
		s.add("Box", 7, []sending{{&upload{body: &piece{size: 1000}}, &mail.Landed{Ref: mail.Ref{UID: uint32(i + 1)}}}})
	}
	s.add("Box", 7, []sending{{&upload{body: &piece{size: 1}}, &mail.Landed{}}}) // refused
	told := map[uint32]int64{}
	for from := uint32(1); from < 2*n; from += 15 {
		var listed []mail.SizeState
		for uid := from; uid < from+15; uid++ {
			size := int64(1000)
			switch {
			case uid%10 == 0:
				size = int64(uid)
			case uid%10 == 1:
				size = -1
			}
			listed = append(listed, mail.SizeState{Ref: mail.Ref{UID: uid}, Size: size})
		}
		for range 2 {
			for _, a := range s.altered("Box", 7, listed) {
				if told[a.Ref.UID] != 0 {
					t.Errorf("uid %d is told twice", a.Ref.UID)
				}
				told[a.Ref.UID] = a.Size
			}
		}
	}
	want := map[uint32]int64{}
	for uid := uint32(10); uid <= n; uid += 10 {
		want[uid] = int64(uid)
	}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("told are %v, want %v", told, want)
	}
	if len(s.boxes) != 0 {
		t.Errorf("%d mailboxes are remembered for ever", len(s.boxes))
	}
	s.add("Box", 7, []sending{{&upload{body: &piece{size: 1000}}, &mail.Landed{Ref: mail.Ref{UID: 5}}}})
	if got := s.altered("Box", 8, []mail.SizeState{{Ref: mail.Ref{UID: 5}, Size: 3}}); got != nil {
		t.Errorf("of a mailbox that was made anew it tells %v", got)
	}
}
