package state

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
)

// sample is a small state at rest, and all that is true of it.
type sample struct {
	bytes    []byte
	rows     map[int64]*Row
	boxes    map[int64]*Mailbox
	problems map[int64]Problem
	runs     map[int64]Run
}

func newSample(t testing.TB) *sample {
	t.Helper()
	ctx := context.Background()
	path := newPath(t)
	db := mustOpen(t, path, Options{Accounts: someAccounts, RootID: "r", Command: "test"})
	if _, err := db.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.SetMeta(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	s := &sample{rows: make(map[int64]*Row), boxes: make(map[int64]*Mailbox), problems: make(map[int64]Problem), runs: make(map[int64]Run)}
	rnd := rand.New(rand.NewPCG(9, 9))
	for i := range 3 {
		box := newMailbox(t, db, fmt.Sprint("box ", i))
		s.boxes[box.ID] = box
		tx := &Tx{}
		for j := range 20 {
			r := likeMail(rnd, box.ID, uint32(j+1))
			r.Status = Here
			r.Ident.ObjectID = fmt.Sprintf("M%d", rnd.IntN(1000))
			switch j {
			case 3, 4:
				r.Ref[B] = mail.Ref{}
			case 5:
				r.Ref[A] = mail.Ref{}
			case 6, 7:
				r.Gone[A] = 1
			case 8:
				r.Gone[B] = 1
			case 9, 10:
				r.Status, r.Mark = ToB, "uidnext 7"
			}
			tx.Rows = append(tx.Rows, r)
		}
		mustCommit(t, db, tx)
		for _, r := range tx.Rows {
			s.rows[r.ID] = r
		}
		p := Problem{Row: tx.Rows[3].ID, Side: B, Kind: mail.KindQuota, Reason: "no room", Tries: 2}
		mustCommit(t, db, &Tx{Problems: []Problem{p}})
		s.problems[p.Row] = p
	}
	if err := db.Finish(ctx, "done", "{}"); err != nil {
		t.Fatal(err)
	}
	runs, err := db.Runs(ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		s.runs[r.ID] = r
	}
	if err := db.c.once(identIndex); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	if s.bytes, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return s
}

// examine opens a copy of the sample that something has happened to, asks
// everything, and complains about an answer that is not true. It answers with
// how many rows were found, and whether an error or a count told of damage.
func (s *sample) examine(t *testing.T, path string, o Options) (rows int, told bool) {
	t.Helper()
	ctx := context.Background()
	db, err := Open(ctx, path, o)
	if err != nil {
		s.mustBeKind(t, err)
		return 0, true
	}
	defer db.Close() // what it says does not matter here
	fail := func(err error) {
		if err != nil {
			told = true
			s.mustBeKind(t, err)
		}
	}
	seen := make(map[int64]bool)
	isTrue := func(rs ...*Row) {
		for _, r := range rs {
			seen[r.ID] = true
			if want := s.rows[r.ID]; want == nil || !equalRows(r, want) {
				t.Errorf("got row %+v, want %+v", r, want)
			}
		}
	}
	boxes, err := db.Mailboxes(ctx)
	fail(err)
	for _, box := range boxes {
		if !reflect.DeepEqual(box, s.boxes[box.ID]) {
			t.Errorf("got mailbox %+v, want %+v", box, s.boxes[box.ID])
		}
		fail(db.Each(ctx, box.ID, func(r *Row) error { isTrue(r); return nil }))
		for _, side := range []Side{A, B} {
			s.examineSide(t, db, box.ID, side, fail, isTrue)
		}
	}
	pending, err := db.Pending(ctx)
	fail(err)
	isTrue(pending...)
	for _, r := range pending {
		if r.Status == Here {
			t.Errorf("row %d is not pending", r.ID)
		}
	}
	problems, of, err := db.Problems(ctx)
	fail(err)
	isTrue(of...)
	for _, p := range problems {
		if p != s.problems[p.Row] {
			t.Errorf("got problem %+v, want %+v", p, s.problems[p.Row])
		}
	}
	runs, err := db.Runs(ctx, 10)
	fail(err)
	for _, r := range runs {
		if r != s.runs[r.ID] {
			t.Errorf("got run %+v, want %+v", r, s.runs[r.ID])
		}
	}
	v, err := db.Meta(ctx, "k")
	fail(err)
	if v != "v" && v != "" {
		t.Errorf("got meta %q", v)
	}
	_, err = db.Counts(ctx)
	fail(err)
	return len(seen), told || db.Damage().Total() > 0
}

func (s *sample) examineSide(t *testing.T, db *DB, box int64, side Side, fail func(error), isTrue func(...*Row)) {
	t.Helper()
	ctx := context.Background()
	var refs []mail.Ref
	var sizes []int64
	for _, r := range s.rows {
		refs, sizes = append(refs, r.Ref[side]), append(sizes, r.Size)
	}
	rows, err := db.ByRef(ctx, box, side, refs[:10])
	fail(err)
	isTrue(rows...)
	for _, r := range rows {
		if r.Mailbox != box || !slices.Contains(refs[:10], r.Ref[side]) {
			t.Errorf("row %d was not asked for", r.ID)
		}
	}
	rows, err = db.AloneBySize(ctx, box, side, sizes)
	fail(err)
	isTrue(rows...)
	rows2, err := db.AloneRows(ctx, box, side, 0, 100)
	fail(err)
	isTrue(rows2...)
	for _, r := range append(rows, rows2...) {
		if r.Mailbox != box || !r.Alone(side) {
			t.Errorf("row %d is not alone", r.ID)
		}
	}
	rows, err = db.GoneRows(ctx, box, side, 0, 100)
	fail(err)
	isTrue(rows...)
	for _, r := range rows {
		if r.Mailbox != box || r.Gone[side] == 0 || !r.Alive(side.Other()) {
			t.Errorf("row %d is not gone", r.ID)
		}
	}
	if len(rows) > 0 {
		ident := rows[0].Ident
		found, err := db.ByIdentity(ctx, ident, rows[0].Size)
		fail(err)
		isTrue(found...)
	}
	k := db.Known(box, side)
	k.Count()
	fail(k.Each(ctx, mail.Ref{}, mail.Ref{}, func(ref mail.Ref, f mail.Flags) error {
		for _, r := range s.rows {
			if r.Mailbox == box && r.Ref[side] == ref && r.Alive(side) && r.Flags[side] == f {
				return nil
			}
		}
		t.Errorf("a ref %s with flags %q that is not known", ref, f)
		return nil
	}))
}

// mustBeKind wants every error to be one that the engine and the user can read.
func (s *sample) mustBeKind(t *testing.T, err error) {
	t.Helper()
	var e *mail.Error
	if !errors.As(err, &e) || e.Scope != mail.ScopeAccount && e.Scope != mail.ScopeMailbox {
		t.Errorf("got %v (%T), want a *mail.Error", err, err)
	}
}

// TestFlippedBits flips a bit, and wants the truth, or part of it, or an error.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	seed := drawn()
	t.Logf("seed %d, %d octets", seed, len(s.bytes))
	rnd := rand.New(rand.NewPCG(seed, 0))
	var at []int
	if os.Getenv("POSTBAG_LONG") != "" {
		for i := rnd.IntN(9); i < len(s.bytes); i += 9 {
			at = append(at, i)
		}
	} else {
		for i := range 100 { // the header
			at = append(at, i)
		}
		for range 200 {
			at = append(at, rnd.IntN(len(s.bytes)))
		}
	}
	path := filepath.Join(t.TempDir(), "state.db")
	silent, whole := 0, 0
	for i, pos := range at {
		b := slices.Clone(s.bytes)
		b[pos] ^= 1 << rnd.IntN(8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		rows, told := s.examine(t, path, Options{ReadOnly: true})
		if rows == len(s.rows) {
			whole++
		} else if !told {
			silent++
			t.Logf("silent: %d rows after a flip of bit %#x at %d (page %d + %d)", rows, b[pos]^s.bytes[pos], pos, pos/4096+1, pos%4096)
		}
		if i%10 == 0 {
			s.write(t, path)
		}
		if t.Failed() {
			t.Fatalf("after a flip of bit %#x at %d (page %d + %d)", b[pos]^s.bytes[pos], pos, pos/4096+1, pos%4096)
		}
	}
	t.Logf("of %d flips %d lost nothing, %d lost rows in silence", len(at), whole, silent)
}

// write commits to a damaged state, and wants what is left to be true.
func (s *sample) write(t *testing.T, path string) {
	t.Helper()
	ctx := context.Background()
	db, err := Open(ctx, path, Options{})
	if err != nil {
		s.mustBeKind(t, err)
		return
	}
	box := &Mailbox{Name: [2]string{"new", "new"}}
	err = db.Commit(ctx, &Tx{Mailboxes: []*Mailbox{box}}, false)
	var rows []*Row
	if err == nil {
		rows = []*Row{{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}, {Key: "k"}}}}
		err = db.Commit(ctx, &Tx{Rows: rows}, false)
	}
	if err != nil {
		s.mustBeKind(t, err)
		db.Close()
		return
	}
	if s.boxes[box.ID] != nil {
		t.Errorf("a new mailbox got ID %d, which was in use", box.ID)
	}
	more := *s
	more.rows, more.boxes = make(map[int64]*Row), map[int64]*Mailbox{box.ID: box}
	for id, r := range s.rows {
		more.rows[id] = r
	}
	for id, b := range s.boxes {
		more.boxes[id] = b
	}
	more.rows[rows[0].ID] = rows[0]
	if db.Close() == nil {
		more.examine(t, path, Options{ReadOnly: true})
	}
}

// TestTruncated cuts the file off.
func TestTruncated(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	rnd := rand.New(rand.NewPCG(drawn(), 0))
	path := filepath.Join(t.TempDir(), "state.db")
	for i := range 150 {
		n := rnd.IntN(len(s.bytes))
		switch {
		case i < 10:
			n = i
		case i < 40:
			n = n / 4096 * 4096
		}
		if err := os.WriteFile(path, s.bytes[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		rows, told := s.examine(t, path, Options{ReadOnly: true})
		if !told && rows < len(s.rows) {
			t.Errorf("cut at %d: got %d rows and nothing is said", n, rows)
		}
	}
}

// TestHole overwrites 4 KiB with zeros.
func TestHole(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	path := filepath.Join(t.TempDir(), "state.db")
	for at := 0; at+4096 <= len(s.bytes); at += 2048 {
		b := slices.Clone(s.bytes)
		clear(b[at : at+4096])
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s.examine(t, path, Options{ReadOnly: true})
		s.write(t, path)
		if t.Failed() {
			t.Fatalf("after a hole at %d", at)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newSample(t)
	path := filepath.Join(t.TempDir(), "state.db")
	newer := slices.Clone(s.bytes)
	newer[63] = 99 // user_version
	foreign := slices.Clone(s.bytes)
	foreign[68] = 0 // application_id
	broken := slices.Clone(s.bytes)
	clear(broken[4096 : 3*4096])
	for what, c := range map[string]struct {
		bytes []byte
		kind  mail.Kind
		text  string
	}{
		"garbage":        {[]byte("this is a file of something else, long enough to be looked at in earnest"), mail.KindIntegrity, "damaged"},
		"a newer state":  {newer, mail.KindUsage, "newer postbag"},
		"a foreign file": {foreign, mail.KindUsage, "not a state of postbag"},
		"half a state":   {s.bytes[:len(s.bytes)/2], mail.KindIntegrity, "damaged"},
	} {
		if err := os.WriteFile(path, c.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, readOnly := range []bool{true, false} {
			db, err := Open(ctx, path, Options{ReadOnly: readOnly})
			e := mail.AsError(err)
			if err == nil {
				db.Close()
				t.Errorf("%s: it is opened", what)
			} else if e.Kind != c.kind || !strings.Contains(err.Error(), c.text) || c.kind == mail.KindIntegrity && e.Hint != moveAway {
				t.Errorf("%s: got kind %d, %v, hint %q", what, e.Kind, err, e.Hint)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !slices.Equal(got, c.bytes) {
			t.Errorf("%s: the file was changed", what)
		}
	}
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	if findings, err := Check(ctx, path); err == nil && len(findings) == 0 {
		t.Error("Check finds nothing in a broken file")
	}
}

// TestRepair damages rows through SQLite, so that only checksums tell.
func TestRepair(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newSample(t)
	path := newPath(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, s.bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, path, Options{})
	for _, q := range []string{
		`UPDATE message SET flags_b = '\Deleted' WHERE id = 1`,
		`UPDATE message SET size = size + 1 WHERE id = 2`,
		`UPDATE message SET id = 1000 WHERE id = 13`, // a row in another one's place
		`UPDATE mailbox SET name_b = 'other' WHERE id = 4`,
		`UPDATE problem SET tries = 7 WHERE message = 4`,
		`UPDATE run SET outcome = 'failed'`,
		`UPDATE meta SET value = 'w' WHERE key = 'k'`,
	} {
		if n, err := db.c.exec(q); err != nil || n != 1 {
			t.Fatalf("%s: %d rows, %v", q, n, err)
		}
	}
	mustClose(t, db)
	if findings, err := Check(ctx, path); err != nil || len(findings) < 7 {
		t.Errorf("Check found %q, %v", findings, err)
	}
	if rows, told := s.examine(t, path, Options{ReadOnly: true}); rows != 37 || !told {
		t.Errorf("got %d rows, told %v, want 37 of 60 and to be told", rows, told)
	}
	db = mustOpen(t, path, Options{})
	if got := db.Damage(); got != (Damage{Meta: 1}) {
		t.Errorf("got %+v before the first look", got)
	}
	// The message of the damaged row 1 is new to the engine, which says so.
	again := *s.rows[1]
	again.ID = 0
	mustCommit(t, db, &Tx{Rows: []*Row{&again}})
	s.rows[again.ID] = &again
	want := Damage{Meta: 1, Mailboxes: 1, Messages: 23, Problems: 1, Runs: 1}
	if got := db.Damage(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := len(allRows(t, db, 2)); got != 18 {
		t.Errorf("got %d rows, want 18", got)
	}
	if got := db.Known(2, B).Count(); got != 18-2-1-2 {
		t.Errorf("got %d known, want 13", got)
	}
	mustClose(t, db) // and newPath checks that it is sound again
}

// drawn is where random tests begin: anywhere in a long run, and at one place in all
// others, which then fail for a reason that is new.
func drawn() uint64 {
	if os.Getenv("POSTBAG_LONG") != "" {
		return rand.Uint64()
	}
	return 20261125
}
