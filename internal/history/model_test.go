package history_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postbag/internal/history"
	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/maildir"
	"postbag/state"
	"postbag/sync"
)

// day is when the first run of a history begins; each begins an hour after the one
// before.
var day = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// life is an account, the Maildir that follows it with its state, and what the account
// held after each run.
type life struct {
	t      *testing.T
	rnd    *rand.Rand
	server *storetest.Store
	dir    string
	now    time.Time
	n      int                           // messages and mailboxes so far
	after  map[int64]map[string][]string // by run and mailbox: the messages, sorted
	began  map[int64]time.Time
}

func (l *life) tree() *maildir.Store {
	l.t.Helper()
	tree, err := maildir.Open(l.dir, maildir.Options{Create: true, Now: func() time.Time { return l.now }})
	if err != nil {
		l.t.Fatal(err)
	}
	return tree
}

func (l *life) state(readOnly bool) *state.DB {
	l.t.Helper()
	db, err := state.Open(context.Background(), filepath.Join(filepath.Dir(l.dir), "state.db"), state.Options{Command: "test", ReadOnly: readOnly, Now: func() time.Time { return l.now }})
	if err != nil {
		l.t.Fatal(err)
	}
	return db
}

// line is a message as a snapshot has it.
func line(digest mail.Digest, flags mail.Flags, date time.Time, size int64) string {
	return fmt.Sprintf("%.8s [%v] %s %d", digest, flags, date.UTC().Format(time.DateTime), size)
}

// holds is what the account holds now.
func (l *life) holds() map[string][]string {
	all := make(map[string][]string)
	for _, box := range l.server.Boxes() {
		all[box] = []string{}
		for _, m := range l.server.Messages(box) {
			all[box] = append(all[box], line(sha256.Sum256(m.Body), m.Flags, m.Date, int64(len(m.Body))))
		}
		slices.Sort(all[box])
	}
	return all
}

// befall has other programs do something to the account.
func (l *life) befall() {
	boxes := l.server.Boxes()
	box := boxes[l.rnd.IntN(len(boxes))]
	var ref mail.Ref
	if list := l.server.Messages(box); len(list) > 0 {
		ref = list[l.rnd.IntN(len(list))].Ref
	}
	to := boxes[l.rnd.IntN(len(boxes))]
	l.n++
	switch dice := l.rnd.IntN(40); {
	case dice < 12:
		body, date := fmt.Sprintf("Subject: %d\r\n\r\ntext\r\n", l.n), day.Add(time.Duration(-l.n)*time.Minute)
		if l.rnd.IntN(5) == 0 { // which of equal messages has which date is not told apart
			body, date = "Subject: again\r\n\r\nthe same\r\n", day
		}
		l.server.Put(box, l.flags(), date, body)
	case dice < 18:
		l.server.Flag(box, ref, l.flags())
	case dice < 24:
		l.server.Del(box, ref)
	case dice < 30 && to != box:
		l.server.MoveMsg(box, ref, to)
	case dice < 32:
		l.server.Copy(box, ref, to)
	case dice == 32 && len(boxes) < 6:
		l.server.AddBox(fmt.Sprint("box ", l.n))
	case dice == 33 && box != "INBOX":
		l.server.RenameBox(box, fmt.Sprint("renamed ", l.n))
	case dice == 34 && box != "INBOX" && len(boxes) > 2:
		l.server.DropBox(box)
	case dice == 35:
		l.server.Renumber(box)
	}
}

func (l *life) flags() mail.Flags {
	return mail.ParseFlags([]string{"", `\Seen`, `\Flagged`, "work", `\Answered`}[l.rnd.IntN(5)])
}

// run follows the account, and writes down what it holds.
func (l *life) run(p sync.Policy) {
	l.t.Helper()
	l.now = l.now.Add(time.Hour)
	tree, db := l.tree(), l.state(false)
	report, err := sync.Run(context.Background(), sync.Options{A: l.server, B: tree, Policy: p, Journal: db, Command: "test", Workers: 1, Window: 7,
		Guard: sync.Limits{Off: true}, Now: func() time.Time { return l.now }})
	if err != nil || report.Outcome != sync.Done {
		l.t.Fatalf("got %v, %+v", err, report)
	}
	runs, err := db.Runs(context.Background(), 1)
	if err = errors.Join(err, db.Close(), tree.Close()); err != nil {
		l.t.Fatal(err)
	}
	if len(runs) > 0 { // of several without a change one is on record
		if was := l.after[runs[0].ID]; was != nil && !maps.EqualFunc(was, l.holds(), slices.Equal) {
			l.t.Errorf("after run %d something changed, and there is no run of it", runs[0].ID)
		}
		l.after[runs[0].ID], l.began[runs[0].ID] = l.holds(), runs[0].Started
	}
}

// seeds is how many histories are played; POSTBAG_SEEDS sets another number.
func seeds(t *testing.T, n int) uint64 {
	if s := os.Getenv("POSTBAG_SEEDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return uint64(n)
}

// Whatever befell an account, it can be told, as of each run, which mailboxes it had and
// which messages were in them, with flags and dates; and all of them can be read, octet
// for octet, out of a Maildir that keeps what was deleted. What the log says of a run is
// the difference between the two times.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 6) {
		policy := []sync.Policy{sync.Backup(), sync.Mirror(), sync.TwoWay()}[seed%3]
		l := &life{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), server: storetest.NewStore(false), dir: filepath.Join(t.TempDir(), "mail"), now: day,
			after: make(map[int64]map[string][]string), began: make(map[int64]time.Time)}
		l.server.ObjectIDs = seed%2 == 0
		for _, box := range []string{"INBOX", "Work", "Archive"} {
			l.server.AddBox(box)
		}
		for range 9 {
			for range l.rnd.IntN(14) {
				l.befall()
			}
			l.run(policy)
		}
		if len(l.after) < 4 {
			t.Errorf("seed %d: only %d runs", seed, len(l.after))
		}
		l.check()
		if t.Failed() {
			t.Fatalf("seed %d, policy %s", seed, policy.Name)
		}
	}
}

// check compares what is on record with what was.
func (l *life) check() {
	l.t.Helper()
	ctx := context.Background()
	tree, db := l.tree(), l.state(true)
	defer db.Close()
	defer tree.Close()
	ids := make(map[string]string) // of the messages of the run before, by row and mailbox
	for _, run := range slices.Sorted(maps.Keys(l.after)) {
		want := l.after[run]
		point, err := history.At(ctx, db, l.began[run].Add(time.Minute))
		if err != nil || point.Run != run || !point.Complete {
			l.t.Fatalf("run %d: got point %+v, %v", run, point, err)
		}
		view, err := history.Open(ctx, db, point)
		if err != nil {
			l.t.Fatal(err)
		}
		got, next := make(map[string][]string), make(map[string]string)
		for _, info := range view.Mailboxes() {
			got[info.Name] = []string{}
			if err := view.Each(ctx, info.Name, func(m *history.Message) error {
				got[info.Name] = append(got[info.Name], line(m.Ident.Digest, m.Flags, m.Date, m.Size))
				key := fmt.Sprint(m.Row, " in ", info.Name)
				next[key] = history.IDOf(m)
				if was, ok := ids[key]; ok && was != next[key] {
					l.t.Errorf("run %d: message %s has another ID than before", run, key)
				}
				return nil
			}); err != nil {
				l.t.Fatal(err)
			}
			slices.Sort(got[info.Name])
		}
		if !maps.EqualFunc(got, want, slices.Equal) {
			l.t.Errorf("as of run %d:\n%s", run, differ(got, want))
		}
		ids = next
		l.readable(history.NewStore(view, tree), run)
	}
	l.logged(db)
}

// readable reads all that an account held.
func (l *life) readable(store *history.Store, run int64) {
	l.t.Helper()
	got := make(map[string][]string)
	for _, info := range store.View.Mailboxes() {
		got[info.Name] = []string{}
		mb, err := store.Examine(context.Background(), info.Name)
		if err != nil {
			l.t.Fatal(err)
		}
		var refs []mail.Ref
		err = mail.Windows(context.Background(), mb, 3, func(d *mail.Delta) error {
			for _, m := range d.New {
				refs = append(refs, m.Ref)
			}
			return nil
		})
		if err == nil {
			err = mb.Fetch(context.Background(), refs, func(f mail.Fetched) error {
				if f.Err != nil {
					return fmt.Errorf("%s: %w", info.Name, f.Err)
				}
				body, err := io.ReadAll(f.Body)
				got[info.Name] = append(got[info.Name], line(sha256.Sum256(body), f.Flags, f.Date, int64(len(body))))
				return err
			})
		}
		if err != nil {
			l.t.Errorf("as of run %d: %v", run, err)
		}
		slices.Sort(got[info.Name])
	}
	if !maps.EqualFunc(got, l.after[run], slices.Equal) {
		l.t.Errorf("read as of run %d:\n%s", run, differ(got, l.after[run]))
	}
}

// logged checks that the log's sums are the differences between one run and the next.
func (l *life) logged(db *state.DB) {
	l.t.Helper()
	log, err := history.Log(context.Background(), db, func(mail.MailboxInfo) bool { return true })
	if err != nil {
		l.t.Fatal(err)
	}
	told := make(map[int64]history.Changes)
	for _, one := range log {
		sum := history.Changes{}
		for _, c := range one.Mailboxes {
			sum.New, sum.Gone = sum.New+c.New, sum.Gone+c.Gone
			sum.MovedIn, sum.MovedOut = sum.MovedIn+c.MovedIn, sum.MovedOut+c.MovedOut
		}
		told[one.Run.ID] = sum
	}
	before := 0
	for _, run := range slices.Sorted(maps.Keys(l.after)) {
		n := 0
		for _, list := range l.after[run] {
			n += len(list)
		}
		if sum := told[run]; sum.New-sum.Gone != n-before || sum.MovedIn != sum.MovedOut {
			l.t.Errorf("run %d: the log has %+v, and from %d messages it became %d", run, sum, before, n)
		}
		before = n
	}
}

// differ shows what only one of two snapshots has.
func differ(got, want map[string][]string) string {
	var b strings.Builder
	for _, side := range []struct {
		sign string
		a, b map[string][]string
	}{{"+", got, want}, {"-", want, got}} {
		for _, box := range slices.Sorted(maps.Keys(side.a)) {
			other := slices.Clone(side.b[box])
			if side.b[box] == nil {
				fmt.Fprintf(&b, "%s mailbox %s\n", side.sign, box)
			}
			for _, m := range side.a[box] {
				if i := slices.Index(other, m); i >= 0 {
					other = slices.Delete(other, i, i+1)
				} else {
					fmt.Fprintf(&b, "%s %s: %s\n", side.sign, box, m)
				}
			}
		}
	}
	return b.String()
}
