package state

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
)

// The test binary is also the second process of tests that need one.
func TestMain(m *testing.M) {
	switch os.Getenv("POSTBAG_STATE_CHILD") {
	case "":
		os.Exit(m.Run())
	case "lock":
		os.Exit(lockChild(os.Args[len(os.Args)-1]))
	case "crash":
		os.Exit(crashChild(os.Args[len(os.Args)-1]))
	case "full":
		os.Exit(fullChild(os.Args[len(os.Args)-1]))
	}
	os.Exit(2)
}

var someAccounts = [2]string{"imaps://anna@example.org", "maildir:/home/anna/mail"}

// newPath is where a test's state goes; at the end it is checked.
func newPath(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "box", "state.db")
	t.Cleanup(func() { mustBeSound(t, path) })
	return path
}

func mustBeSound(t testing.TB, path string) {
	t.Helper()
	findings, err := Check(context.Background(), path)
	if err != nil && !errors.Is(err, ErrNoState) {
		t.Errorf("Check: %v", err)
	}
	for _, f := range findings {
		t.Errorf("Check found: %s", f)
	}
}

func mustOpen(t testing.TB, path string, o Options) *DB {
	t.Helper()
	db, err := Open(context.Background(), path, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { mustClose(t, db) })
	return db
}

func mustClose(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func mustCommit(t testing.TB, db *DB, tx *Tx) {
	t.Helper()
	if err := db.Commit(context.Background(), tx, true); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

// newMailbox commits a mailbox.
func newMailbox(t testing.TB, db *DB, name string) *Mailbox {
	t.Helper()
	box := &Mailbox{Name: [2]string{name, name}}
	mustCommit(t, db, &Tx{Mailboxes: []*Mailbox{box}})
	return box
}

// allRows reads all rows of a mailbox.
func allRows(t testing.TB, db *DB, box int64) []*Row {
	t.Helper()
	var rows []*Row
	err := db.Each(context.Background(), box, func(r *Row) error {
		rows = append(rows, r)
		return nil
	})
	if err != nil {
		t.Fatalf("Each: %v", err)
	}
	return rows
}

// equalRows compares rows as their readers see them: a zone's name is not kept.
func equalRows(x, y *Row) bool {
	a, b := *x, *y
	a.Date, b.Date = time.Time{}, time.Time{}
	_, za := x.Date.Zone()
	_, zb := y.Date.Zone()
	return a == b && x.Date.Equal(y.Date) && za == zb
}

func diffRows(t testing.TB, what string, got, want []*Row) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: got %d rows, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if !equalRows(got[i], want[i]) {
			t.Errorf("%s: got row %+v, want %+v", what, *got[i], *want[i])
		}
	}
}

// oddText is a string as no one would choose it.
func oddText(rnd *rand.Rand) string {
	odd := []string{"", "x", "\\", " ", "  ", "\x00", "a\x00b", "\xff\xfe", "é", "\r\n", "'\"", "000123", "12", "1e5", "NULL",
		strings.Repeat("long ", 300), "\u202e\x1b[31m", "日本"}
	return odd[rnd.IntN(len(odd))] + odd[rnd.IntN(len(odd))]
}

func oddFlags(rnd *rand.Rand) mail.Flags {
	f := mail.Flags{System: mail.System(rnd.IntN(32))}
	if rnd.IntN(2) == 0 {
		f.Keywords = mail.Keywords([]string{"", "$Forwarded", "$Junk work", `\Seen`, ` \Seen`, `\Seen \Flagged`, "\\", " ", "  x", "\xff", "\x00"}[rnd.IntN(11)])
	}
	return f
}

func oddDate(rnd *rand.Rand) time.Time {
	zone := time.FixedZone("", []int{0, 3600, -12600, 50400, 1}[rnd.IntN(5)])
	switch rnd.IntN(5) {
	case 0:
		return time.Time{}
	case 1:
		return time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)
	case 2:
		return time.Date(9999, 12, 31, 23, 59, 60, 0, zone)
	case 3:
		return time.Unix(0, 0).In(zone)
	}
	return time.Unix(rnd.Int64N(2_000_000_000)-100_000_000, rnd.Int64N(1_000_000_000)).In(zone)
}

func oddRow(rnd *rand.Rand, box int64) *Row {
	r := &Row{
		Mailbox: box,
		Flags:   [2]mail.Flags{oddFlags(rnd), oddFlags(rnd)},
		Size:    []int64{-1, 0, 1, 127, 128, 4096, math.MaxInt64}[rnd.IntN(7)],
		Date:    oddDate(rnd),
		Ident:   mail.Identity{MessageID: mail.MessageID(rnd.Uint64() >> rnd.IntN(64)), Described: rnd.IntN(2) == 0, ObjectID: oddText(rnd)},
		Born:    rnd.Int64N(1000),
		Status:  Status(rnd.IntN(3)),
		Mark:    oddText(rnd),
	}
	if rnd.IntN(2) == 0 {
		for i := range r.Ident.Digest {
			r.Ident.Digest[i] = byte(rnd.Uint32())
		}
	}
	if rnd.IntN(3) == 0 {
		r.Gone[rnd.IntN(2)] = 1 + rnd.Int64N(math.MaxInt64)
	}
	return r
}

func TestRowRoundTrip(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	box := newMailbox(t, db, "INBOX")
	tx := &Tx{}
	for i := range 2000 {
		r := oddRow(rnd, box.ID)
		r.Ref = [2]mail.Ref{{UID: math.MaxUint32 - uint32(i)}, {Key: fmt.Sprint(oddText(rnd), "\x01", i)}}
		if r.Status != Here && i%3 == 0 {
			r.Ref[r.Status-ToA] = mail.Ref{}
		}
		tx.Rows = append(tx.Rows, r)
	}
	mustCommit(t, db, tx)
	diffRows(t, "written at once", allRows(t, db, box.ID), tx.Rows)
	mustClose(t, db)
	db = mustOpen(t, path, Options{})
	diffRows(t, "after opening again", allRows(t, db, box.ID), tx.Rows)
	for _, r := range tx.Rows {
		id, refs := r.ID, r.Ref
		*r = *oddRow(rnd, box.ID)
		r.ID, r.Ref = id, refs
	}
	mustCommit(t, db, tx)
	diffRows(t, "replaced", allRows(t, db, box.ID), tx.Rows)
	if n := db.Damage().Total(); n != 0 {
		t.Errorf("got %d damaged rows, want none", n)
	}
}

func TestFlagsRoundTrip(t *testing.T) {
	t.Parallel()
	for _, words := range []string{"", "a", "a b", `\`, `\Seen`, ` \Seen`, ` `, `  `, `\Seenx`, `\Draft a`, "\x00", "\xff"} {
		for system := range mail.System(32) {
			want := mail.Flags{System: system, Keywords: mail.Keywords(words)}
			v, err := encodeFlags(want)
			if err != nil {
				t.Fatal(err)
			}
			s, _ := v.(string)
			if got := decodeFlags(s); got != want {
				t.Errorf("got %#v of %q, want %#v", got, s, want)
			}
		}
	}
	if v, _ := encodeFlags(mail.ParseFlags(`\Flagged`, "$Forwarded", `\Seen`)); v != `\Seen \Flagged $Forwarded` {
		t.Errorf("got %q", v)
	}
	if _, err := encodeFlags(mail.Flags{System: 32}); err == nil {
		t.Error("an unknown system flag is accepted")
	}
}

func TestMailboxRoundTrip(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	tx := &Tx{}
	for range 100 {
		tx.Mailboxes = append(tx.Mailboxes, &Mailbox{
			Name: [2]string{oddText(rnd), oddText(rnd)}, Use: mail.SpecialUse(oddText(rnd)),
			ObjectID: [2]string{oddText(rnd), oddText(rnd)}, Validity: [2]string{oddText(rnd), oddText(rnd)},
			Cursor: [2]mail.Cursor{mail.Cursor(oddText(rnd)), mail.Cursor(oddText(rnd))},
			Stamp:  [2]string{oddText(rnd), oddText(rnd)}, Gone: [2]int64{rnd.Int64(), rnd.Int64()}, Filter: oddText(rnd), Subscribed: Subscription(rnd.IntN(3)), Renaming: [2]string{oddText(rnd), oddText(rnd)},
		})
	}
	mustCommit(t, db, tx)
	tx.Mailboxes[7].Name[B], tx.Mailboxes[7].Gone[A] = "other", 5
	mustCommit(t, db, tx)
	mustClose(t, db)
	db = mustOpen(t, path, Options{})
	got, err := db.Mailboxes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, tx.Mailboxes) {
		t.Errorf("got %d mailboxes that differ from the %d written", len(got), len(tx.Mailboxes))
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	box := newMailbox(t, db, "INBOX")
	rows := []*Row{
		{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}}}, {Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 2}}}, {Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 3}}},
	}
	mustCommit(t, db, &Tx{Rows: rows})
	want := []Problem{
		{Row: rows[0].ID, Side: B, Kind: mail.KindQuota, Reason: "too large\x00\xff", Tries: 3, First: 1, Last: 9},
		{Row: rows[1].ID, Side: A, Kind: mail.KindRefused, Tries: 1},
		{Row: rows[1].ID, Side: B, Kind: mail.KindOther, Tries: 1},
		{Row: rows[2].ID, Side: B, Kind: mail.KindOther, Tries: 1},
	}
	mustCommit(t, db, &Tx{Problems: want})
	want[3].Tries = 2
	mustCommit(t, db, &Tx{Problems: want[3:]})
	check := func(want ...Problem) {
		t.Helper()
		got, gotRows, err := db.Problems(ctx)
		if err != nil || !slices.Equal(got, want) || len(gotRows) != len(want) {
			t.Fatalf("got %+v and %d rows, %v, want %+v", got, len(gotRows), err, want)
		}
		for i, p := range got {
			if gotRows[i].ID != p.Row {
				t.Errorf("got row %d at the place of %d", gotRows[i].ID, p.Row)
			}
		}
	}
	check(want...)
	mustCommit(t, db, &Tx{Solved: []int64{rows[1].ID, 999}})
	check(want[0], want[3])
	mustCommit(t, db, &Tx{Delete: []int64{rows[2].ID, 999}})
	check(want[0])
	err := db.Commit(ctx, &Tx{Problems: []Problem{{Row: 999}}}, true)
	if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeMailbox {
		t.Errorf("a problem of no row: got %v", err)
	}
	check(want[0])
}

func TestRuns(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	now := time.Unix(1_800_000_000, 999)
	o := Options{Command: "backup work", Now: func() time.Time { return now }}
	for i := range 3 {
		db := mustOpen(t, path, o)
		if i == 1 { // a run that changes nothing
			if err := db.Finish(ctx, "done", "{}"); err != nil {
				t.Fatal(err)
			}
			mustClose(t, db)
			continue
		}
		first, err := db.Run(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := db.Run(ctx); again != first || first == 0 {
			t.Errorf("got runs %d and %d, want one", first, again)
		}
		now = now.Add(time.Minute)
		if i == 2 {
			if err := db.Finish(ctx, "done", `{"new":1}`); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, db)
	}
	db := mustOpen(t, path, Options{ReadOnly: true})
	got, err := db.Runs(ctx, 10)
	start := time.Unix(1_800_000_000, 0).UTC()
	want := []Run{
		{ID: 2, Command: "backup work", Started: start.Add(time.Minute), Finished: start.Add(2 * time.Minute), Outcome: "done", Summary: `{"new":1}`},
		{ID: 1, Command: "backup work", Started: start},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got, _ := db.Runs(ctx, 1); len(got) != 1 || got[0].ID != 2 {
		t.Errorf("got %+v, want the newest run", got)
	}
}

func TestMeta(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	if got, err := db.Meta(ctx, "budget"); got != "" || err != nil {
		t.Errorf("got %q, %v of a key that is not there", got, err)
	}
	for _, want := range []string{"a", "", "b\x00\xff"} {
		if err := db.SetMeta(ctx, "budget", want); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Meta(ctx, "budget"); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	for _, key := range []string{"version", "account_a", "root"} {
		if err := db.SetMeta(ctx, key, "x"); err == nil {
			t.Errorf("SetMeta writes %q", key)
		}
	}
}

func TestClaimedTwice(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := mustOpen(t, newPath(t), Options{})
	box, other := newMailbox(t, db, "INBOX"), newMailbox(t, db, "Work")
	uid := func(box *Mailbox, n uint32) *Row {
		return &Row{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: n}, {Key: fmt.Sprint("k", box.ID, n)}}}
	}
	r := []*Row{uid(box, 5), uid(box, 7), uid(box, 9), uid(other, 5)}
	mustCommit(t, db, &Tx{Rows: r})
	rejected := func(what string, tx *Tx) {
		t.Helper()
		before := allRows(t, db, box.ID)
		err := db.Commit(ctx, tx, false)
		if e := mail.AsError(err); !errors.Is(err, ErrClaimed) || e.Scope != mail.ScopeMailbox || e.Ref.IsZero() {
			t.Errorf("%s: got %v, want ErrClaimed", what, err)
		}
		for _, r := range tx.Rows {
			if r.ID > 4 {
				t.Errorf("%s: a row that was not inserted has ID %d", what, r.ID)
			}
		}
		diffRows(t, what, allRows(t, db, box.ID), before)
	}
	rejected("a second row for a UID", &Tx{Rows: []*Row{uid(box, 11), {Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 7}}}}})
	rejected("two new rows for a UID", &Tx{Rows: []*Row{uid(box, 12), {Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 12}}}}})
	rejected("a second row for a key", &Tx{Rows: []*Row{{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 20}, r[1].Ref[B]}}}})
	moved := *r[3]
	moved.Mailbox = box.ID
	rejected("a row that moves", &Tx{Rows: []*Row{&moved}})
	returned := *r[0]
	returned.Gone[A] = 3
	mustCommit(t, db, &Tx{Rows: []*Row{&returned, {Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 5}}}}})
	rejected("a row that comes back", &Tx{Rows: []*Row{r[0]}})
	arriving := Row{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 30}, r[1].Ref[B]}, Status: ToB}
	mustCommit(t, db, &Tx{Rows: []*Row{&arriving}}) // its key is not certain yet
	arriving.Status = Here
	rejected2 := db.Commit(ctx, &Tx{Rows: []*Row{&arriving}}, true)
	if !errors.Is(rejected2, ErrClaimed) {
		t.Errorf("an arrival at a taken key: got %v", rejected2)
	}
	// Numbered anew: each takes the UID of the next.
	r[1].Ref[A], r[2].Ref[A] = r[2].Ref[A], r[1].Ref[A]
	mustCommit(t, db, &Tx{Rows: r[1:3]})
	// One goes, another takes its place.
	mustCommit(t, db, &Tx{Rows: []*Row{{Mailbox: box.ID, Ref: [2]mail.Ref{r[1].Ref[A]}}}, Delete: []int64{r[1].ID}})
}

func TestRejected(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := mustOpen(t, newPath(t), Options{})
	box := newMailbox(t, db, "INBOX")
	for what, tx := range map[string]*Tx{
		"a row without a mailbox":    {Rows: []*Row{{Ref: [2]mail.Ref{{UID: 1}}}}},
		"a row of no mailbox":        {Rows: []*Row{{Mailbox: 99, Ref: [2]mail.Ref{{UID: 1}}}}},
		"a row without a message":    {Rows: []*Row{{Mailbox: box.ID}}},
		"a row that is not there":    {Rows: []*Row{{ID: 77, Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}}}}},
		"a mailbox that is not":      {Mailboxes: []*Mailbox{{ID: 77}}},
		"a ref of both kinds":        {Rows: []*Row{{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1, Key: "x"}}}}},
		"a status that there is not": {Rows: []*Row{{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}}, Status: 3}}},
		"a flag that there is not":   {Rows: []*Row{{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}}, Flags: [2]mail.Flags{{System: 64}}}}},
		"a size that cannot be":      {Rows: []*Row{{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}}, Size: -2}}},
	} {
		good := &Mailbox{Name: [2]string{"new", ""}}
		tx.Mailboxes = append(tx.Mailboxes, good)
		err := db.Commit(ctx, tx, true)
		if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeMailbox {
			t.Errorf("%s: got %v, want a refusal", what, err)
		}
		if good.ID != 0 {
			t.Errorf("%s: the mailbox of the same Tx was kept", what)
		}
	}
	if boxes, err := db.Mailboxes(ctx); len(boxes) != 1 || err != nil {
		t.Errorf("got %d mailboxes, %v, want 1", len(boxes), err)
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	if _, err := Open(ctx, path, Options{ReadOnly: true}); !errors.Is(err, ErrNoState) {
		t.Errorf("got %v of a state that is not there, want ErrNoState", err)
	}
	db := mustOpen(t, path, Options{})
	box := fill(t, db, 3000, false)
	// A reader beside the run, and it sees what is committed.
	reader := mustOpen(t, path, Options{ReadOnly: true})
	if got := len(allRows(t, reader, box.ID)); got != 3000 {
		t.Errorf("got %d rows during the run, want 3000", got)
	}
	if err := reader.Commit(ctx, &Tx{Solved: []int64{1}}, true); err == nil {
		t.Error("a reader can commit")
	}
	if err := reader.SetMeta(ctx, "x", "y"); err == nil {
		t.Error("a reader can set meta")
	}
	mustCommit(t, db, &Tx{Rows: []*Row{{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 100_000}}}}})
	if got := len(allRows(t, reader, box.ID)); got != 3001 {
		t.Errorf("got %d rows after the commit, want 3001", got)
	}
	mustClose(t, db) // while the reader is there
	if got := len(allRows(t, reader, box.ID)); got != 3001 {
		t.Errorf("got %d rows after the run, want 3001", got)
	}
	mustClose(t, reader)
	if err := db.Commit(ctx, &Tx{Solved: []int64{1}}, true); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed state: got %v", err)
	}
}

func TestBelongsToOthers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	mine := Options{Accounts: someAccounts, RootID: "abc"}
	mustClose(t, mustOpen(t, path, mine))
	for what, o := range map[string]Options{
		"other server": {Accounts: [2]string{"imaps://eve@example.org", someAccounts[B]}, RootID: "abc"},
		"other folder": {Accounts: [2]string{someAccounts[A], "maildir:/mnt"}, RootID: "abc"},
		"other root":   {Accounts: someAccounts, RootID: "xyz"},
	} {
		for _, o.ReadOnly = range []bool{false, true} {
			_, err := Open(ctx, path, o)
			if e := mail.AsError(err); err == nil || e.Kind != mail.KindUsage || !strings.Contains(err.Error(), "belongs to another pair") {
				t.Errorf("%s: got %v, want a refusal", what, err)
			}
		}
	}
	mustClose(t, mustOpen(t, path, mine))
	mustClose(t, mustOpen(t, path, Options{ReadOnly: true}))
}

// What was not known when the state was made is kept with the first commit.
func TestBelongsLater(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	mustClose(t, mustOpen(t, path, Options{}))
	mustClose(t, mustOpen(t, path, Options{Accounts: someAccounts}))
	mustClose(t, mustOpen(t, path, Options{Accounts: [2]string{"x", "y"}}))
	db := mustOpen(t, path, Options{Accounts: someAccounts})
	newMailbox(t, db, "INBOX")
	mustClose(t, db)
	if _, err := Open(context.Background(), path, Options{Accounts: [2]string{"x", "y"}}); err == nil {
		t.Error("the accounts were not kept")
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, newPath(t), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := db.Commit(ctx, &Tx{Mailboxes: []*Mailbox{{}}}, true); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: got %v", err)
	}
	if _, err := db.Pending(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Pending: got %v", err)
	}
	if boxes, err := db.Mailboxes(context.Background()); len(boxes) != 0 || err != nil {
		t.Errorf("got %d mailboxes, %v, want none", len(boxes), err)
	}
	// One that waits for another's turn.
	db.gate <- struct{}{}
	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := db.Commit(ctx, &Tx{Mailboxes: []*Mailbox{{}}}, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: got %v", err)
	}
	db.release()
	newMailbox(t, db, "INBOX")
	if boxes, _ := db.Mailboxes(context.Background()); len(boxes) != 1 {
		t.Errorf("got %d mailboxes: the cancelled commit was carried out", len(boxes))
	}
}
