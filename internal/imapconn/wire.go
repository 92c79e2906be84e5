package imapconn

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds on what a server may send.
const (
	readBufSize   = 64 << 10
	maxLine       = 1 << 20  // a line; the longest that servers send hold UID sets
	maxSearchLine = 16 << 20 // a line of SEARCH: 2 million UIDs; ESEARCH says the same in far less
	maxString     = 1 << 20  // the strings of a response; longer ones read as NIL
	maxBuffered   = 4 << 20  // a body whose UID comes behind it
	maxLiterals   = 10_000   // of one response
	maxSkip       = 1 << 30  // a literal that nobody wants
	maxUseless    = 64 << 20 // responses that nobody wants, between two that somebody does
	maxEarly      = 1 << 20  // of them before the login is done
	byeGrace      = 2 * time.Second
)

// wire is one connection's stream of commands and responses. It is the net.Conn
// of the library.
//
// Responses are read by one goroutine: that of Dial until the library exists
// (solo), the library's from then on. It runs the handlers of commands, so these
// must not wait for the connection. Commands are written by whoever holds turn.
type wire struct {
	meter  *meter
	stream io.ReadWriter // the connection, decrypted
	src    io.Reader     // what the server sends, decrypted and inflated
	dst    *bufio.Writer // what we send, before both
	flush  func() error
	trace  *trace
	idle   time.Duration

	// Of the reading goroutine.
	solo     bool
	greeted  bool   // the greeting has come
	buf      []byte // buf[r:w] has been read and not yet looked at
	r, w     int
	long     []byte    // a line that does not fit into buf
	resp     []byte    // a response with literals
	out      []byte    // for the library
	outPos   int       // how much of out the library has
	body     int64     // what is left of the literal that streams to the library
	tail     *bodyTail // not nil from the start of that literal to the end of its response
	suspect  bool      // the last response ended oddly: the next one had better be sane
	useless  int64     // octets that nobody wanted
	patience int64     // how many of them are too many

	commands atomic.Pointer[[]*command] // ours that wait for their tagged reply, oldest first
	list     atomic.Pointer[listFetch]  // the running FetchList
	bodies   atomic.Pointer[bodyFetch]  // the running FetchBodies
	nextTag  atomic.Uint64

	mu       sync.Mutex
	err      error           // why the connection is dead
	panic    any             // what a handler panicked with
	dead     chan struct{}   // closed with err
	libTags  map[string]bool // the library's commands that wait for their tagged reply
	libWaits bool            // the library waits for a "+"
	busy     int             // commands that wait for a reply
	watching bool            // watchdog's timer runs
	watchdog *time.Timer
	bye      *Status
	byeTimer *time.Timer

	turn    chan struct{} // holds an element while a command is being written
	libText []byte        // the line that the library is writing; of the goroutine with turn
	libBody int64         // what is left of the literal that the library is writing
	libTurn bool          // the library has turn
	libMid  bool          // the library's command goes on behind a literal
}

func newWire(conn net.Conn, cfg *Config, tr *trace) *wire {
	idle := cfg.idleTimeout()
	m := newMeter(conn, idle)
	w := &wire{
		meter: m, trace: tr, idle: idle, solo: true, patience: maxUseless,
		buf: make([]byte, readBufSize), dead: make(chan struct{}),
		libTags: make(map[string]bool), turn: make(chan struct{}, 1),
	}
	if cfg.patience > 0 {
		w.patience = cfg.patience
	}
	w.commands.Store(&[]*command{})
	w.watchdog = time.AfterFunc(idle, w.watch)
	w.watchdog.Stop()
	w.use(m)
	return w
}

// use makes the wire speak through rw from now on.
func (w *wire) use(rw io.ReadWriter) {
	w.stream, w.src = rw, rw
	w.dst = bufio.NewWriterSize(rw, 32<<10)
	w.flush = w.dst.Flush
}

// deflate begins COMPRESS=DEFLATE (RFC 4978) in both directions. What has been
// read behind the server's OK is compressed already.
func (w *wire) deflate() {
	under := w.stream
	early := bytes.Clone(w.buf[w.r:w.w])
	w.r, w.w = 0, 0
	w.src = flate.NewReader(bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), under), 32<<10))
	// The level is valid: there can be no error.
	fw, _ := flate.NewWriter(under, flate.DefaultCompression)
	w.dst = bufio.NewWriterSize(fw, 32<<10)
	w.flush = func() error {
		if err := w.dst.Flush(); err != nil {
			return err
		}
		return fw.Flush()
	}
}

// fail ends the connection with a reason; the first one stays.
func (w *wire) fail(err error) {
	w.mu.Lock()
	w.end(err)
	w.mu.Unlock()
	// There is nothing to be done about a connection that cannot be closed.
	_ = w.meter.Conn.Close()
}

// end is fail but for closing the connection, which who reads or writes does.
// The caller holds mu.
func (w *wire) end(err error) {
	if w.err == nil {
		if w.bye != nil {
			err = byeError(*w.bye)
		}
		w.err = err
		close(w.dead)
	}
	w.watchdog.Stop()
	if w.byeTimer != nil {
		w.byeTimer.Stop()
	}
}

// Err is why the connection is dead; nil while it lives.
func (w *wire) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// raise panics with what a handler panicked with, in the goroutine that waits
// for the command: the library would hide it.
func (w *wire) raise() {
	w.mu.Lock()
	v := w.panic
	w.mu.Unlock()
	if v != nil {
		panic(v)
	}
}

// isDead is Err for the reading goroutine, without the lock.
func (w *wire) isDead() bool {
	select {
	case <-w.dead:
		return true
	default:
		return false
	}
}

// watch is the watchdog: while somebody waits for the server, something must
// move.
func (w *wire) watch() {
	w.mu.Lock()
	if w.err != nil || w.busy == 0 {
		w.watching = false
		w.mu.Unlock()
		return
	}
	idle := w.meter.idle()
	if idle < w.idle {
		w.watchdog.Reset(max(w.idle-idle, time.Millisecond))
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	w.fail(fmt.Errorf("nothing moved for %v while an answer was awaited", w.idle))
}

// beBusy counts a command that waits for a reply. The caller holds mu.
func (w *wire) beBusy() {
	if w.busy++; w.busy == 1 {
		w.meter.touch()
		if !w.watching && w.err == nil {
			w.watching = true
			w.watchdog.Reset(w.idle)
		}
	}
}

// Read gives the library what it may see. After the connection's end it is at
// EOF: the library cannot cope with another error in the middle of a literal.
func (w *wire) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			w.mu.Lock()
			w.panic = v
			w.mu.Unlock()
			w.fail(fmt.Errorf("panic: %v", v))
			n, err = 0, io.EOF
		}
	}()
	for {
		switch {
		case w.isDead():
			return 0, io.EOF
		case w.outPos < len(w.out):
			n = copy(p, w.out[w.outPos:])
			w.outPos += n
			return n, nil
		case w.body > 0:
			n, err = w.readBody(p)
		default:
			w.emptyOut()
			err = w.next()
		}
		if err != nil {
			w.fail(err)
			return 0, io.EOF
		}
		if n > 0 {
			return n, nil
		}
	}
}

// emptyOut makes room in out, and gives back what a large response took.
func (w *wire) emptyOut() {
	w.out, w.outPos = w.out[:0], 0
	if cap(w.out) > readBufSize {
		w.out = nil
	}
}

// readBody reads into p from the literal that streams to the library.
func (w *wire) readBody(p []byte) (n int, err error) {
	p = p[:min(int64(len(p)), w.body)]
	if w.r == w.w && len(p) >= 8<<10 {
		n, err = w.src.Read(p)
		if n > 0 {
			err = nil
		}
	} else {
		if w.r == w.w {
			err = w.fill()
		}
		n = copy(p, w.buf[w.r:w.w])
		w.r += n
	}
	w.body -= int64(n)
	return n, err
}

// fill reads more into buf.
func (w *wire) fill() error {
	if w.r == w.w {
		w.r, w.w = 0, 0
	}
	if w.w == len(w.buf) {
		w.w = copy(w.buf, w.buf[w.r:w.w])
		w.r = 0
	}
	for range 100 {
		n, err := w.src.Read(w.buf[w.w:])
		w.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// readLine reads one line, which is good until the next read. It goes without
// its end, CR LF or LF.
func (w *wire) readLine() ([]byte, error) {
	w.long = w.long[:0]
	if cap(w.long) > maxLine {
		w.long = nil
	}
	for from := w.r; ; {
		if i := bytes.IndexByte(w.buf[from:w.w], '\n'); i >= 0 {
			line := w.buf[w.r : from+i]
			w.r = from + i + 1
			if len(w.long) > 0 {
				w.long = append(w.long, line...)
				line = w.long
			}
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		if w.w-w.r == len(w.buf) {
			w.long = append(w.long, w.buf[w.r:w.w]...)
			w.r = w.w
			if len(w.long) > maxLine && !(isSearch(w.long) && len(w.long) <= maxSearchLine) {
				return nil, protocolf("a line of more than %d octets", maxLine)
			}
		}
		seen := w.w - w.r
		if err := w.fill(); err != nil {
			return nil, err
		}
		from = w.r + seen
	}
}

func isSearch(line []byte) bool {
	kind, _, _, ok := splitUntagged(line[:min(len(line), 32)])
	return ok && (equalFold(kind, "SEARCH") || equalFold(kind, "ESEARCH") || equalFold(kind, "VANISHED"))
}

// readInto appends n octets to b.
func (w *wire) readInto(b []byte, n int64) ([]byte, error) {
	for n > 0 {
		if w.r == w.w {
			if err := w.fill(); err != nil {
				return b, err
			}
		}
		k := min(n, int64(w.w-w.r))
		b = append(b, w.buf[w.r:w.r+int(k)]...)
		w.r += int(k)
		n -= k
	}
	return b, nil
}

// discard throws n octets away.
func (w *wire) discard(n int64) error {
	for n > 0 {
		if w.r == w.w {
			if err := w.fill(); err != nil {
				return err
			}
		}
		k := min(n, int64(w.w-w.r))
		w.r += int(k)
		n -= k
	}
	return nil
}

// Close is the library's way to end the connection: it does so when it does not
// understand something.
func (w *wire) Close() error {
	w.fail(protocolf("a response that the library could not read"))
	return nil
}

// LocalAddr is that of the network connection.
func (w *wire) LocalAddr() net.Addr { return w.meter.Conn.LocalAddr() }

// RemoteAddr is that of the network connection.
func (w *wire) RemoteAddr() net.Addr { return w.meter.Conn.RemoteAddr() }

// SetDeadline and its kin do nothing: the watchdog sees to stalls, and the
// library's absolute deadlines would end a transfer that moves.
func (w *wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, see SetDeadline.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, see SetDeadline.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
