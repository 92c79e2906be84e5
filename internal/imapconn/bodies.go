package imapconn

import (
	"context"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"postbag/internal/mail"
)

// bodyFetch is a FETCH of bodies on its way. The reading goroutine finds out
// what each response is about, keeps what it says beside the body here, and
// hands the library "UID n BODY[] literal" in that order, whatever the server
// sent: the library takes the first response that names a UID for the whole
// answer, and misses a UID that comes behind the body.
type bodyFetch struct {
	want   UIDSet
	lone   uint32 // the only UID wanted: a body without one is its
	parser *itemParser

	// Of the reading goroutine, until the command is done.
	seen   UIDSet  // bodies that went to the library
	late   UIDSet  // bodies thrown away because their UID came too late
	status *Status // the tagged reply

	mu    sync.Mutex
	items map[uint32]*bodyTail // what is known of messages not yet given to the caller
}

// maxAside bounds how many messages' items are kept for a body that may come.
const maxAside = 10_000

// bodyTail is what a response says of a message beside its body. The reading
// goroutine writes it until the library has seen the response's end.
type bodyTail struct {
	item  Item
	ended bool   // the response came to its end
	bad   string // why the body does not count; "" when it does
}

// about gives what is known of a message; nil when too much is.
func (bf *bodyFetch) about(uid uint32) *bodyTail {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	t := bf.items[uid]
	if t == nil && len(bf.items) < maxAside {
		t = &bodyTail{item: Item{UID: uid, Size: -1}}
		bf.items[uid] = t
	}
	return t
}

// take is about for the last time.
func (bf *bodyFetch) take(uid uint32) *bodyTail {
	bf.mu.Lock()
	defer bf.mu.Unlock()
	t := bf.items[uid]
	delete(bf.items, uid)
	return t
}

// bodyItems are the items of one response.
type bodyItems struct {
	item    Item
	hasBody bool // an item with a whole message
	body    []byte
}

// wholeMessage reports whether an item is all of a message. BODY[]<0> is a part
// that begins at the start.
func wholeMessage(name []byte) bool {
	return equalFold(name, "BODY[]") || equalFold(name, "RFC822")
}

// collect takes all items of s.
func (bf *bodyFetch) collect(s *fetchScanner) bodyItems {
	got := bodyItems{item: Item{Size: -1}}
	for s.next() {
		if wholeMessage(s.name) {
			got.hasBody, got.body = true, s.val
			continue
		}
		bf.parser.apply(&got.item, s.name, s.val)
	}
	return got
}

// merge takes what a response says into what is known.
func (t *bodyTail) merge(it Item) {
	if it.HasFlags {
		t.item.Flags, t.item.HasFlags = it.Flags, true
	}
	if !it.Date.IsZero() {
		t.item.Date = it.Date
	}
	if it.Size >= 0 {
		t.item.Size = it.Size
	}
	t.item.ModSeq = max(t.item.ModSeq, it.ModSeq)
}

// bodyFate decides on a literal of n octets in a FETCH response: s is at its
// start.
func (w *wire) bodyFate(bf *bodyFetch, s fetchScanner, seq uint32, n int64) literalFate {
	got := bf.collect(&s)
	isBody := s.open && wholeMessage(s.name)
	switch {
	case !isBody && s.open && int64(len(w.resp))+n > maxString:
		return skip
	case !isBody:
		if int64(len(w.resp))+n > maxBuffered+maxString {
			return skip
		}
		return keep
	}
	uid := got.item.UID
	if uid == 0 {
		uid = bf.lone
	}
	if uid == 0 {
		if int64(len(w.resp))+n <= maxBuffered {
			return keep
		}
		return skip // bodyResponse sees NIL in its place
	}
	if !bf.want.Contains(uid) || bf.seen.Contains(uid) {
		return skip
	}
	tail := bf.about(uid)
	if tail == nil {
		return skip
	}
	tail.merge(got.item)
	bf.seen.Add(uid)
	w.useless = 0
	w.out = appendf(w.out, "* %d FETCH (UID %d BODY[] {%d}\r\n", seq, uid, n)
	w.body, w.tail = n, tail
	return stream
}

// endBody handles what comes behind a body that streamed.
func (w *wire) endBody(rest []byte) error {
	tail := w.tail
	w.tail = nil
	tail.ended = true
	s := fetchScanner{b: rest}
	if bf := w.bodies.Load(); bf == nil { // a command of the library that is not FetchBodies
		mark := len(w.out)
		w.out = appendItems(append(w.out, ' '), &s)
		if len(w.out) == mark+1 {
			w.out = w.out[:mark]
		}
	} else {
		got := bf.collect(&s)
		tail.merge(got.item)
		if uid := got.item.UID; uid != 0 && uid != tail.item.UID {
			tail.bad = "the body belongs to another message"
		}
	}
	if !s.closed {
		// Perhaps the literal's length was wrong, and this is a message's text.
		tail.bad = "what follows the body is no end of a response"
		w.suspect = true
	}
	w.out = append(w.out, ")\r\n"...)
	return nil
}

// bodyResponse handles a FETCH response that is in memory as a whole.
func (w *wire) bodyResponse(bf *bodyFetch, resp []byte) error {
	s, seq, ok := fetchItems(resp)
	if !ok {
		return w.nobody(resp)
	}
	got := bf.collect(&s)
	uid := got.item.UID
	if uid == 0 && got.hasBody {
		uid = bf.lone
	}
	if uid == 0 || !bf.want.Contains(uid) || bf.seen.Contains(uid) {
		return w.nobody(resp)
	}
	w.useless = 0
	tail := bf.about(uid)
	if tail == nil {
		return nil
	}
	tail.merge(got.item)
	switch {
	case !got.hasBody: // flags in a line of their own: the body may follow
		return nil
	case got.body[0] != '"' && got.body[0] != '{':
		if !isNIL(got.body) || bf.lone != 0 {
			return nil
		}
		// NIL: the server has none, or it was too large to be kept.
		bf.late.Add(uid)
		return nil
	case !s.closed:
		tail.bad = "the response is malformed behind the body"
	}
	tail.ended = true
	bf.seen.Add(uid)
	body := unquote(got.body)
	w.out = appendBody(appendf(w.out, "* %d FETCH (UID %d BODY[] ", seq, uid), body)
	w.out = append(w.out, ")\r\n"...)
	return nil
}

func isNIL(b []byte) bool { return equalFold(b, "NIL") }

// FetchBodies reads whole messages (UID FETCH FLAGS INTERNALDATE BODY.PEEK[]) and
// calls fn for each that the server has and can give, in any order, from the
// calling goroutine. What the server leaves out, or answers with NIL, is left
// out. size is the body's length; item has UID, and Flags and Date where the
// server sent them before the body.
//
// fn should read body to its end, and what it leaves is read and thrown away.
// io.EOF means that all octets came and that the response ended as it should;
// any other error is a *mail.Error, of ScopeMessage when only this message is
// concerned. fn must not use the connection.
//
// An error of fn is returned as it is, and ends the connection: it may be in the
// middle of a gigabyte. When the server answers NO, messages that it did send
// have been handed over.
func (c *Conn) FetchBodies(ctx context.Context, set UIDSet, fn func(item Item, size int64, body io.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return lostError("fetch", err)
	}
	defer c.wire.bind(ctx)()
	for _, chunk := range set.Chunks(MaxSetBytes) {
		late, err := c.fetchChunk(ctx, chunk, 0, fn)
		if err != nil {
			return err
		}
		for _, r := range late.Ranges() {
			for uid := uint64(r.Lo); uid <= uint64(r.Hi); uid++ {
				if err := c.fetchLone(ctx, uint32(uid), fn); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// fetchLone reads one message from a server that sends its UID behind its body:
// flags and date first, by themselves.
func (c *Conn) fetchLone(ctx context.Context, uid uint32, fn func(Item, int64, io.Reader) error) error {
	known := Item{UID: uid, Size: -1}
	one := NewUIDSet(uid)
	err := c.FetchList(ctx, one, Flags|Date, 0, false, func(it Item) error {
		known = it
		return nil
	}, nil)
	if err != nil {
		return err
	}
	_, err = c.fetchChunk(ctx, one, uid, func(it Item, size int64, body io.Reader) error {
		if !it.HasFlags {
			it.Flags, it.HasFlags = known.Flags, known.HasFlags
		}
		if it.Date.IsZero() {
			it.Date = known.Date
		}
		return fn(it, size, body)
	})
	return err
}

// fetchChunk is FetchBodies for one command. late are the messages to be read
// one by one.
func (c *Conn) fetchChunk(ctx context.Context, set UIDSet, lone uint32, fn func(Item, int64, io.Reader) error) (late UIDSet, err error) {
	bf := &bodyFetch{want: set, lone: lone, parser: newItemParser(0), items: make(map[uint32]*bodyTail)}
	w := c.wire
	if err := w.Err(); err != nil {
		return late, lostError("fetch", err)
	}
	w.bodies.Store(bf)
	defer w.bodies.Store(nil)
	var uids imap.UIDSet
	for _, r := range set.Ranges() {
		uids = append(uids, imap.UIDRange{Start: imap.UID(r.Lo), Stop: imap.UID(r.Hi)})
	}
	cmd := c.client.Fetch(uids, &imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true,
		BodySection: []*imap.FetchItemBodySection{{Peek: true}},
	})
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		if cut, err := c.oneBody(bf, msg, fn); err != nil {
			c.wire.fail(errAborted)
			if !cut {
				c.drain(cmd)
			}
			<-c.client.Closed()
			return late, err
		}
	}
	libErr := cmd.Close()
	w.raise()
	switch {
	case bf.status == nil:
		if libErr == nil {
			libErr = errEOF
		}
		return late, lostError("fetch", c.deadFor(libErr))
	case bf.status.Type != "OK":
		return late, classify("fetch", *bf.status)
	}
	return bf.late, nil
}

// deadFor is why the connection is dead, err when it is not known to be.
func (c *Conn) deadFor(err error) error {
	if why := c.wire.Err(); why != nil {
		return why
	}
	c.wire.fail(err)
	return err
}

// oneBody hands one message over. After an error the connection must end; cut
// says that the message's literal was cut short. Then nothing of the command may
// be touched again: the literal reads from under the library's goroutine.
func (c *Conn) oneBody(bf *bodyFetch, msg *imapclient.FetchMessageData, fn func(Item, int64, io.Reader) error) (cut bool, err error) {
	var uid uint32
	for item := msg.Next(); item != nil; item = msg.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			uid = uint32(item.UID)
		case imapclient.FetchItemDataBodySection:
			tail := bf.take(uid)
			if item.Literal == nil || tail == nil {
				continue
			}
			body := &bodyReader{conn: c, msg: msg, lit: item.Literal, left: item.Literal.Size(), tail: tail}
			if err = fn(tail.item, item.Literal.Size(), body); err != nil {
				c.wire.fail(errAborted)
			}
			body.drain()
			if body.cut && err == nil {
				err = body.err
			}
			return body.cut, err
		}
	}
	return false, nil
}

// drain takes what the library has read already of a command whose connection
// has ended: its goroutine waits until each literal is read.
func (c *Conn) drain(cmd *imapclient.FetchCommand) {
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		for item := msg.Next(); item != nil; item = msg.Next() {
			section, ok := item.(imapclient.FetchItemDataBodySection)
			if !ok || section.Literal == nil {
				continue
			}
			if n, _ := io.Copy(io.Discard, section.Literal); n < section.Literal.Size() {
				return
			}
		}
	}
}

// bodyReader is the body of one message. It believes io.EOF of nobody: the
// library says so as well when the connection broke.
type bodyReader struct {
	conn *Conn
	msg  *imapclient.FetchMessageData
	lit  io.Reader
	left int64
	tail *bodyTail
	err  error
	cut  bool // the connection ended before the response did
}

func (r *bodyReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if len(p) == 0 && r.left > 0 {
		return 0, nil
	}
	n, err := r.lit.Read(p)
	r.left -= int64(n)
	if r.left == 0 {
		r.finish(err)
		return n, nil
	}
	if err != nil {
		r.cutOff()
	}
	return n, r.err
}

// cutOff is the end of the connection before that of the response.
func (r *bodyReader) cutOff() {
	r.cut = true
	e := lostError("fetch", r.conn.deadFor(io.ErrUnexpectedEOF))
	e.Ref = mail.Ref{UID: r.tail.item.UID}
	r.err = e
}

// finish sees the response to its end.
func (r *bodyReader) finish(err error) {
	if err == nil {
		// The library goes on only after it has said io.EOF.
		_, _ = r.lit.Read(nil)
	}
	for item := r.msg.Next(); item != nil; item = r.msg.Next() {
	}
	switch {
	case r.tail.bad != "":
		r.err = &mail.Error{
			Scope: mail.ScopeMessage, Kind: mail.KindProtocol, Op: "fetch",
			Ref: mail.Ref{UID: r.tail.item.UID}, Err: protocolf("%s", r.tail.bad),
		}
	case !r.tail.ended:
		r.cutOff()
	default:
		r.err = io.EOF
	}
}

// drain reads what the caller left.
func (r *bodyReader) drain() {
	if r.err == nil {
		_, _ = io.Copy(io.Discard, r)
	}
}
