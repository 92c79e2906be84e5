package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	gosync "sync"
	"time"

	"postbag/internal/mail"
	"postbag/state"
)

// Copying is a pipeline: one goroutine fetches and reads small bodies into
// buffers, adders write them into the batch that is being filled, and one
// goroutine lands the batch before it: journal, make durable, make visible,
// journal. A large body is written by the fetching goroutine as it arrives.

const (
	adders    = 2
	smallBody = 256 << 10 // bodies up to this size are buffered
)

// poisonous is how often a message may end a fetch, and with it the connection,
// before it is left out for the rest of the run.
const poisonous = 2

var errPoison = &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindProtocol,
	Err: errors.New("the connection is lost each time it is fetched")}

// copier is one copyAll in progress.
type copier struct {
	r    *run
	b    *box
	to   state.Side
	from state.Side
	dst  mail.WritableMailbox

	todo    map[mail.Ref]*Copy // not delivered yet; fetching goroutine only
	flight  *flight            // being filled; fetching goroutine only
	jobs    chan job
	landing chan *flight
	buffers gosync.Pool

	mu      gosync.Mutex
	err     error               // the first that ends the copy
	here    []*state.Row        // landed, to be committed with the next flight
	bad     []quarantined       // to be committed with the next flight
	pairs   map[*state.Row]bool // Maybe rows that are taken
	joined  []*state.Row        // pairs found by digest, likewise
	deleted []int64             // rows that went into a pair, likewise
	mends   []quarantined       // refused, and to be repaired; see mend.go
	mending bool                // that is under way
	reasons map[mail.Ref]string // why those were refused that are repaired
	unheld  mail.Flags          // of messages that landed: what the side did not take
	lacking mail.Ref            // the first of them
	over    []*state.Row        // all that landed or were paired
	dropped []int64             // all that went into a pair
	aside   aside               // not to be sent, see sendonce.go
}

// flight is a batch on its way.
type flight struct {
	batch   mail.Batch
	adding  gosync.WaitGroup
	started time.Time
	n       int
	bytes   int64

	mu      gosync.Mutex
	pending []mail.Pending
	rows    []*state.Row
	// delicate are those of rows whose size does not tell that they were altered.
	delicate []*state.Row
}

type job struct {
	c      *Copy
	flight *flight
	msg    mail.Message
	body   *[]byte
}

type quarantined struct {
	row  *state.Row
	side state.Side
	err  *mail.Error
}

// copyAll copies messages of one box to one side. When it returns, everything
// that it started is landed or dropped, and written down, also after an error. With all
// set nothing is linked.
func (r *run) copyAll(ctx context.Context, b *box, to state.Side, src, dstBox mail.Mailbox, copies []Copy, all bool) error {
	dst, err := writable(dstBox)
	if err != nil {
		return err
	}
	c := &copier{r: r, b: b, to: to, from: to.Other(), dst: dst,
		todo: make(map[mail.Ref]*Copy, len(copies)), jobs: make(chan job), landing: make(chan *flight, 1),
		pairs: make(map[*state.Row]bool), reasons: make(map[mail.Ref]string)}
	if !all {
		if err := c.lookAside(ctx); err != nil {
			return err
		}
	}
	refs := make([]mail.Ref, 0, len(copies))
	var bytes int64
	for i := range copies {
		if b.poison[copies[i].Msg.Ref] >= poisonous {
			c.quarantine(&copies[i], c.from, errPoison)
			continue
		}
		refs = append(refs, copies[i].Msg.Ref)
		c.todo[copies[i].Msg.Ref] = &copies[i]
		bytes += max(copies[i].Msg.Size, 0)
	}
	r.expect(b, len(refs), bytes)
	slices.SortFunc(refs, mail.Ref.Compare)
	b.wrote[to] = true
	// What has been fetched is landed even when the run is interrupted.
	landCtx := context.WithoutCancel(ctx)
	var workers, lander gosync.WaitGroup
	for range adders {
		workers.Go(func() { c.addLoop(landCtx) })
	}
	lander.Go(func() { c.landLoop(landCtx) })
	fetchErr := src.Fetch(ctx, refs, func(f mail.Fetched) error { return c.receive(landCtx, f) })
	c.seal()
	close(c.jobs)
	workers.Wait()
	close(c.landing)
	lander.Wait()
	if err := c.finish(landCtx, c.mendAll(ctx, src, fetchErr)); err != nil {
		r.sent.release(c.aside.claims)
		return err
	}
	return r.bringAside(ctx, c, src)
}

// finish writes down what is left, and decides how the copy ended.
func (c *copier) finish(ctx context.Context, fetchErr error) error {
	if !c.unheld.IsZero() {
		c.r.rep.problem(notHeld(c.b, c.to, c.lacking, c.unheld))
	}
	tx := c.harvest()
	c.b.taken(c.over, c.dropped)
	err := errors.Join(c.err, commit(ctx, c.r.Journal, tx, false))
	if err == nil {
		err = fetchErr
	} else if fetchErr != nil && !errors.Is(err, fetchErr) && c.err == nil {
		err = errors.Join(err, fetchErr)
	}
	if e, ok := errors.AsType[*mail.Error](fetchErr); ok && e.Temporary && !e.Ref.IsZero() {
		c.b.poison[e.Ref]++
	}
	if err != nil {
		return err
	}
	// Listed, not refused, and not delivered: deleted meanwhile, or a store that
	// does not tell the truth. The next look decides, from the same cursor.
	c.b.left += len(c.todo)
	return nil
}

// failed is the first error that ends the copy.
func (c *copier) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *copier) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// receive takes one message from the fetch.
func (c *copier) receive(ctx context.Context, f mail.Fetched) error {
	if err := c.failed(); err != nil {
		return err
	}
	cp := c.todo[f.Ref]
	if cp == nil {
		return nil
	}
	delete(c.todo, f.Ref)
	if f.Err != nil {
		c.quarantine(cp, c.from, f.Err)
		return nil
	}
	msg := f.Message
	msg.ID = joinIdentity(cp.Msg.ID, f.ID)
	if msg.Date.IsZero() {
		msg.Date = cp.Msg.Date
	}
	fl, err := c.boarding(ctx)
	if err != nil {
		return err
	}
	fl.n++
	fl.bytes += max(msg.Size, 0)
	// Of several equal messages the first is paired with what may be there: those are
	// added here, one after the other.
	if msg.Size >= 0 && msg.Size <= smallBody && len(cp.Maybe) == 0 {
		err = c.buffer(fl, cp, msg, f.Body)
	} else {
		m := cp.meter(f.Body)
		err = c.add(ctx, fl, cp, msg, m, m)
		if m.err != nil && !isScope(m.err, mail.ScopeMessage) {
			err = m.err
		}
	}
	if err != nil {
		return err
	}
	if l := c.r.Batch; fl.n >= l.messages(c.to) || fl.bytes >= l.Bytes || time.Since(fl.started) >= l.Age {
		c.seal()
	}
	return nil
}

func isScope(err error, s mail.Scope) bool {
	e, ok := errors.AsType[*mail.Error](err)
	return ok && e.Scope == s
}

// buffer reads a small body whole and hands it to an adder.
func (c *copier) buffer(fl *flight, cp *Copy, msg mail.Message, body io.Reader) error {
	buf, _ := c.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	*buf = slices.Grow((*buf)[:0], int(msg.Size)+1)[:msg.Size+1]
	n, err := io.ReadFull(body, *buf)
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		if err == nil {
			err = &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindProtocol, Ref: msg.Ref,
				Err: fmt.Errorf("the message is longer than the %d octets announced", msg.Size)}
		}
		return c.readFailed(cp, err)
	}
	if int64(n) != msg.Size {
		return c.readFailed(cp, short(msg.Ref, int64(n), msg.Size))
	}
	*buf = (*buf)[:n]
	fl.adding.Add(1)
	c.jobs <- job{cp, fl, msg, buf}
	return nil
}

func short(ref mail.Ref, got, want int64) error {
	return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindProtocol, Temporary: true, Ref: ref,
		Err: fmt.Errorf("only %d of %d octets arrived", got, want)}
}

// readFailed quarantines a message whose body could not be read, or ends the
// copy when more than the message is spoiled.
func (c *copier) readFailed(cp *Copy, err error) error {
	if !isScope(err, mail.ScopeMessage) {
		return err
	}
	c.quarantine(cp, c.from, mail.AsError(err))
	return nil
}

// boarding is the flight that takes messages now.
func (c *copier) boarding(ctx context.Context) (*flight, error) {
	if c.flight == nil {
		batch, err := c.dst.Batch(ctx)
		if err != nil {
			return nil, err
		}
		c.flight = &flight{batch: batch, started: time.Now()}
	}
	return c.flight, nil
}

// seal sends the flight off, and waits while the one before it has not left the
// queue: so no more than three batches are under way.
func (c *copier) seal() {
	if c.flight != nil {
		c.landing <- c.flight
		c.flight = nil
	}
}

func (c *copier) addLoop(ctx context.Context) {
	for j := range c.jobs {
		m := j.c.meter(newBytesReader(*j.body))
		if err := c.add(ctx, j.flight, j.c, j.msg, m, m); err != nil {
			c.fail(err)
		}
		c.buffers.Put(j.body)
		j.flight.adding.Done()
	}
}

// add puts one message into a flight. Its row is what the state shall say while
// it is on its way.
func (c *copier) add(ctx context.Context, fl *flight, cp *Copy, msg mail.Message, body io.Reader, m *meter) error {
	out := msg
	out.Flags = c.dst.Storable(msg.Flags)
	p, err := fl.batch.Add(ctx, out, body)
	if err != nil {
		if m.err != nil { // the reading failed, not the writing
			return c.readFailed(cp, m.err)
		}
		if isScope(err, mail.ScopeMessage) {
			c.quarantine(cp, c.to, mail.AsError(err))
			return nil
		}
		return err
	}
	if msg.Size >= 0 && m.n != msg.Size {
		return c.readFailed(cp, short(msg.Ref, m.n, msg.Size))
	}
	msg.Size, msg.ID = m.n, m.identity(msg.ID)
	if c.alreadyThere(cp, msg, m.alter) {
		return nil
	}
	if cp.Row == nil && c.r.Policy.May[c.to].Moves && c.r.late.found(c.b, c.to, msg) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.b.again = true
		c.r.Progress.Done(1, msg.Size)
		return nil
	}
	if c.setAside(cp, msg) {
		return nil
	}
	row := c.row(cp, msg)
	row.Ref[c.to], row.Flags[c.to] = p.Ref, out.Flags
	row.Gone[c.to] = 0
	row.Status, row.Mark = state.Toward(c.to), p.Mark
	p.Message.Size, p.Message.Date, p.Message.ID, p.Message.Flags = msg.Size, msg.Date, msg.ID, out.Flags
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.pending = append(fl.pending, p)
	fl.rows = append(fl.rows, row)
	if m.delicate() {
		fl.delicate = append(fl.delicate, row)
	}
	return nil
}

// row is a copy's row: its own, or a new one.
func (c *copier) row(cp *Copy, msg mail.Message) *state.Row {
	row := &state.Row{Mailbox: c.b.rec.ID, Born: thisRun}
	if cp.Row != nil {
		*row = *cp.Row
	}
	row.Ref[c.from], row.Flags[c.from] = msg.Ref, msg.Flags
	row.Size, row.Date, row.Ident, row.Sent = msg.Size, msg.Date, msg.ID, nil
	return row
}

// alreadyThere pairs a message with one that the other side has, now that its
// digest is known, or with what a server made of it. What was added of it is left
// out of the landing.
func (c *copier) alreadyThere(cp *Copy, msg mail.Message, alter *mail.Altering) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, there := range sameFirst(cp.Maybe, &msg, alter) {
		if c.pairs[there] {
			continue
		}
		c.pairs[there] = true
		row := *there
		row.Ref[c.from], row.Flags[c.from], row.Gone[c.from] = msg.Ref, msg.Flags, 0
		row.Size, row.Mark = msg.Size, ""
		if there.Ident.Plain != msg.ID.Digest {
			row.Ident = msg.ID
		}
		// Flags start from what both share; the next look brings them together.
		base := msg.Flags.Intersect(there.Flags[c.to])
		row.Flags = [2]mail.Flags{base, base}
		if cp.Row != nil {
			c.deleted = append(c.deleted, cp.Row.ID)
		}
		c.joined = append(c.joined, &row)
		c.b.again = true // flags are brought together by another look
		c.r.Progress.Done(1, msg.Size)
		return true
	}
	return false
}

// landLoop lands one flight after the other. After an error the rest is dropped.
func (c *copier) landLoop(ctx context.Context) {
	for fl := range c.landing {
		fl.adding.Wait()
		if c.failed() == nil || !c.broken() {
			if err := c.land(ctx, fl); err != nil {
				c.fail(err)
			}
		}
		fl.batch.Abort()
	}
}

// broken reports whether the error that ended the copy is one of the writing
// side, so that nothing more can land.
func (c *copier) broken() bool { return c.failed() != nil }

// order sorts a flight as Recover would be asked about it: by its rows' IDs, which new
// rows get in the order in which they are committed. Of several equal messages each is
// then found again as itself, in the order in which they were sent, with its flags.
func (fl *flight) order() {
	type one struct {
		pending mail.Pending
		row     *state.Row
	}
	list := make([]one, len(fl.rows))
	for i, row := range fl.rows {
		list[i] = one{fl.pending[i], row}
	}
	slices.SortStableFunc(list, func(a, b one) int {
		return cmp.Compare(uint64(a.row.ID-1), uint64(b.row.ID-1)) // 0, of a new one, comes last
	})
	for i, o := range list {
		fl.pending[i], fl.rows[i] = o.pending, o.row
	}
}

// land makes a flight durable and visible, with the journal before and after.
func (c *copier) land(ctx context.Context, fl *flight) error {
	if len(fl.pending) == 0 {
		return nil
	}
	fl.order()
	tx := c.harvest()
	tx.Rows = append(tx.Rows, fl.rows...)
	flusher, ok := fl.batch.(mail.Flusher)
	durable := !ok || !flusher.FlushesWith(c.r.Journal.Path())
	if err := commit(ctx, c.r.Journal, tx, durable); err != nil {
		return err
	}
	if err := fl.batch.Prepare(ctx); err != nil {
		return err
	}
	landed, err := fl.batch.Commit(ctx, fl.pending)
	if oerr := c.once(ctx, fl.rows, landed); err == nil {
		err = oerr
	}
	if err = c.landed(fl, landed, err); err == nil {
		c.readBack(ctx, fl.delicate)
	}
	return err
}

// landed takes in what became of a flight.
func (c *copier) landed(fl *flight, landed []mail.Landed, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var n int
	var bytes int64
	for i, l := range landed {
		row := fl.rows[i]
		switch {
		case !l.Ref.IsZero():
			row.Ref[c.to], row.Status, row.Mark = l.Ref, state.Here, ""
			c.here = append(c.here, row)
			n++
			bytes += row.Size
			c.noteUnheld(row, l)
			c.noteRepaired(row)
			if c.aside.on && row.Sent == nil {
				c.r.sent.landed(row, c.to)
			}
		case l.Err != nil:
			refusal := refusedAgain(row, l.Err)
			row.Ref[c.to], row.Flags[c.to], row.Status, row.Mark, row.Sent = mail.Ref{}, mail.Flags{}, state.Here, "", nil
			c.leaveOut(quarantined{row, c.to, refusal})
			c.r.Progress.Note("%s: %s is left out: %s", c.b.name(), row.Ref[c.from], reason(l.Err))
		}
	}
	c.r.rep.count(c.b.name(), c.to, Counts{New: n, Bytes: bytes})
	c.r.Progress.Done(n, bytes)
	return err
}

// noteUnheld records of a message that landed what the side does not hold, so that
// nobody seems to have taken it away there.
func (c *copier) noteUnheld(row *state.Row, l mail.Landed) {
	row.Flags[c.to] = row.Flags[c.to].Minus(l.Unheld)
	if lacks := row.Flags[c.from].Minus(row.Flags[c.to]); !lacks.IsZero() {
		c.unheld = c.unheld.Union(lacks)
		if c.lacking.IsZero() {
			c.lacking = l.Ref
		}
	}
}

// harvest takes what is to be written down: landed rows, quarantined messages,
// pairs.
func (c *copier) harvest() *state.Tx {
	c.mu.Lock()
	defer c.mu.Unlock()
	tx := &state.Tx{Rows: c.here, Delete: c.deleted}
	tx.Rows = append(tx.Rows, c.joined...)
	c.over, c.dropped = append(c.over, tx.Rows...), append(c.dropped, tx.Delete...)
	for _, row := range tx.Rows {
		if c.b.problems[row.ID] {
			tx.Solved = append(tx.Solved, row.ID)
		}
	}
	for _, q := range c.bad {
		tx.Rows = append(tx.Rows, q.row)
		tx.Problems = append(tx.Problems, c.b.problemOf(q))
		c.b.problems[q.row.ID] = true
	}
	c.here, c.joined, c.bad, c.deleted = nil, nil, nil, nil
	return tx
}

// quarantine leaves a message out, with its reason. Its row makes the next run
// try it again.
func (c *copier) quarantine(cp *Copy, side state.Side, err *mail.Error) {
	msg := cp.Msg
	row := c.row(cp, msg)
	row.Ref[c.to], row.Gone[c.to] = mail.Ref{}, 0
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveOut(quarantined{row, side, err})
	c.r.Progress.Done(1, max(msg.Size, 0))
	c.r.Progress.Note("%s: %s is left out: %s", c.b.name(), msg.Ref, reason(err))
}
