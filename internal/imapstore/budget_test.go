package imapstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// purse is a Budget in memory.
type purse struct {
	mu    sync.Mutex
	used  map[Way]int64
	limit map[Way]int64
}

func (p *purse) Take(_ context.Context, way Way, limit, n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit[way] = limit
	if p.used[way] >= limit {
		return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindThrottled, RetryAfter: 3600e9, Err: errors.New("used up")}
	}
	p.used[way] += n
	return nil
}

// Messages are counted each way, and when a budget is used up the next one is not
// moved; what was moved is known. The bounds are those of the configuration, else of
// the provider, else none.
func TestDayBudget(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		gmail           bool
		up, down        int64
		wantUp, wantDwn int64 // the limits that apply, 0 for none
	}{
		{"none", false, 0, 0, 0, 0},
		{"provider", true, 0, 0, 500 << 20, 2500 << 20},
		{"off", true, -1, -1, 0, 0},
		{"configured", true, 700, 400, 700, 400},
		{"configured, another provider", false, 700, 400, 700, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, open := scripted(t, func(s *imaptest.Script) {
				s.Without("MULTIAPPEND")
			})
			prepare := func(s *Store, p *purse) {
				s.cfg.DayUp, s.cfg.DayDown, s.cfg.Budget = test.up, test.down, p
				if test.gmail {
					s.pool.quirk.DayUp, s.pool.quirk.DayDown, s.pool.known = 500<<20, 2500<<20, true
				}
			}
			p := &purse{used: map[Way]int64{}, limit: map[Way]int64{}}
			sizes := make([]int, 20)
			for i := range sizes {
				sizes[i] = 100
			}
			all := sized(sizes...)
			err := deliverOnce(t, func() (*Store, error) {
				s, err := open()
				if err == nil {
					prepare(s, p)
				}
				return s, err
			}, all)
			there := stored(server)
			if test.wantUp == 700 {
				if mail.AsError(err).Kind != mail.KindThrottled || mail.AsError(err).Scope != mail.ScopeAccount || len(there) != 7 {
					t.Errorf("got %v and %d messages, want 7", err, len(there))
				}
			} else if err != nil || len(there) != 20 {
				t.Errorf("got %v and %d messages, want all", err, len(there))
			}
			s, err := open()
			if err != nil {
				t.Fatal(err)
			}
			prepare(s, p)
			read := 0
			for range 2 {
				if err = fetchEach(t, s, func() { read++ }); err != nil {
					break
				}
			}
			want := 2 * len(there)
			if test.wantDwn == 400 {
				want = 4
			}
			if (err != nil) != (want == 4) || read != want {
				t.Errorf("read %d messages, %v; want %d", read, err, want)
			}
			if fmt.Sprint(p.limit[Up], p.limit[Down]) != fmt.Sprint(test.wantUp, test.wantDwn) {
				t.Errorf("the limits are %v, want %d and %d", p.limit, test.wantUp, test.wantDwn)
			}
		})
	}
}

// fetchEach reads all messages of INBOX.
func fetchEach(t *testing.T, s *Store, each func()) error {
	t.Helper()
	m, err := s.Examine(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.Changes(t.Context(), "", nothing{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var refs []mail.Ref
	for _, msg := range d.New {
		refs = append(refs, msg.Ref)
	}
	return m.Fetch(t.Context(), refs, func(f mail.Fetched) error {
		each()
		_, err := io.Copy(io.Discard, f.Body)
		return err
	})
}
