package imapstore

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"postbag/internal/imapconn"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// holding makes a server take so many octets, and count the APPENDs that it refuses.
func holding(octets int, refusals *int) func(*imaptest.Script) {
	return func(s *imaptest.Script) {
		used := 0
		s.OnCommand("APPEND", func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
			n := 0
			for _, arg := range cmd.Args {
				if arg.Kind == 's' && strings.Contains(arg.Text, "Message-ID") {
					n += len(arg.Text)
				}
			}
			if used+n > octets {
				*refusals++
				c.Done("NO [OVERQUOTA] Quota exceeded")
				return true
			}
			used += n
			return false
		})
	}
}

// sized are messages of these sizes.
func sized(sizes ...int) (all []*parcel) {
	for i, n := range sizes {
		head := fmt.Sprintf("Message-ID: <%d@room>\r\n\r\n", i)
		all = append(all, &parcel{body: append([]byte(head), bytes.Repeat([]byte("x"), n-len(head))...)})
	}
	return all
}

// fullTest is a server with some room, and messages for it.
type fullTest struct {
	name   string
	room   int
	sizes  []int
	there  int
	full   bool // nothing is sent any more
	single int  // the most refusals of messages that are sent one by one
}

// most is how often the server may refuse: what is on its way when it first does, or
// what it takes to divide a group, comes on top.
func (f *fullTest) most(without []string) int {
	if len(without) > 0 {
		return f.single + min(laneCommands, len(f.sizes))
	}
	// One of all, and of its halves: which tells whether it keeps a part of those that
	// it refuses. Then one by one, of which the first groups were on their way.
	return 3 + 3*f.single
}

// A server that is full is asked a few times whether a smaller message fits, and then
// not any more, in no mailbox; what fits is there. The error says what to do.
func TestUploadWhenFull(t *testing.T) {
	t.Parallel()
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 1000 + i%7
	}
	for _, test := range []fullTest{
		{"one is too large", 5000, []int{1000, 9000, 1000, 1000}, 3, false, 1},
		{"full", 5500, hundred, 5, true, roomTries},
		{"of one size", 2500, []int{1000, 1000, 1000, 1000, 1000}, 2, false, 1},
		{"the small ones fit", 3000, []int{1000, 2500, 200, 2600, 300, 2500, 400}, 4, false, 1},
		{"many that are larger", 1500, append([]int{1000, 800}, hundred...), 1, true, 2},
	} {
		for _, without := range [][]string{nil, {"MULTIAPPEND"}, {"MULTIAPPEND", "LITERAL+"}} {
			t.Run(fmt.Sprint(test.name, " ", without), func(t *testing.T) {
				t.Parallel()
				refusals := 0
				server, open := scripted(t, func(s *imaptest.Script) {
					s.Without(without...)
					holding(test.room, &refusals)(s)
				})
				var store *Store
				all := sized(test.sizes...)
				err := deliverOnce(t, func() (_ *Store, err error) {
					store, err = open()
					if err == nil {
						store.pool.most = 1 // what is on its way on others is refused, too
					}
					return store, err
				}, all)
				if (err != nil) != test.full || err != nil && (mail.AsError(err).Kind != mail.KindQuota || !strings.Contains(mail.AsError(err).Hint, "make room")) {
					t.Errorf("got %v, want that it is full: %v", err, test.full)
				}
				there := len(stored(server))
				if without != nil && there < test.there || there < 1 {
					t.Errorf("%d messages are there, want %d", there, test.there)
				}
				for i, p := range all {
					if p.err != nil && (mail.AsError(p.err).Kind != mail.KindQuota || mail.AsError(p.err).Scope != mail.ScopeMessage) {
						t.Errorf("message %d: %v", i, p.err)
					}
				}
				before := refusals
				if most := test.most(without); refusals > most {
					t.Errorf("it refused %d times, want at most %d", refusals, most)
				}
				m, err := store.Select(t.Context(), "INBOX")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := m.Batch(t.Context()); (err != nil) != test.full || refusals != before {
					t.Errorf("the next batch: %v", err)
				}
			})
		}
	}
}

// What is known of the room: a refusal bars what is as large, the third one all.
func TestRoom(t *testing.T) {
	t.Parallel()
	var r room
	if r.bars(1<<40) != nil || r.none("x") != nil {
		t.Error("without a refusal something is barred")
	}
	full := &imapconn.StatusError{Status: imapconn.Status{Type: "NO", Code: "OVERQUOTA"}}
	for i, size := range []int64{1000, 1000, 900, 100} {
		r.refused(size, full)
		if done := r.none("x") != nil; done != (i == 3) {
			t.Errorf("after refusal %d: all is barred: %v", i, done)
		}
	}
	r = room{}
	r.refused(1000, full)
	for i := range 2*roomBarred - 2 {
		if r.skipped(); i == roomBarred-2 {
			r.took()
		}
	}
	if r.bars(1000) == nil || r.bars(999) != nil || r.none("x") != nil {
		t.Error("messages that are taken in between do not count")
	}
	if r.skipped(); r.none("x") == nil || !errors.Is(r.none("x"), full) {
		t.Error("not one of many fits, and more are sent")
	}
}
