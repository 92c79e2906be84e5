package repair

import (
	"bufio"
	"bytes"
	"io"
	"time"
)

const (
	maxHeader = 256 << 10 // of a part: a longer one is not repaired
	maxCRs    = 4096      // in a row that wait for what follows
	window    = 64 << 10
)

var crlf = []byte("\r\n")

// Reader reads a message through its repairs.
type Reader struct {
	src  *bufio.Reader
	want Set
	date time.Time

	did   Set
	stuck string
	out   bytes.Buffer
	err   error // of src, io.EOF included, once out is all that is left
	early error // of src, met while there were octets before it

	line    []byte // the line that is being read, without its end
	crs     int    // CRs after it: what they are is known by what follows
	broken  bool   // a body line of which a part has been written already
	long    bool   // and is being broken
	crOnly  bool   // the message has CR alone as line ends
	top     bool   // the header is that of the message
	first   bool   // nothing of the header was read yet
	header  []byte // of the part that is being read; nil in a body
	inHead  bool
	body    content
	parents []content // multiparts around it, with their boundaries
}

// NewReader repairs what src gives. date is the message's INTERNALDATE, for Date.
func NewReader(src io.Reader, want Set, date time.Time) *Reader {
	r := &Reader{src: bufio.NewReaderSize(src, window), want: want, date: date, inHead: true, top: true, first: true}
	r.body = content{kind: text}
	head, err := r.src.Peek(window)
	if err != nil {
		r.early = err
	}
	r.crOnly = want&CRLF != 0 && bytes.IndexByte(head, '\n') < 0 && bytes.IndexByte(head, '\r') >= 0
	return r
}

// Done is what was repaired so far; all of it after io.EOF.
func (r *Reader) Done() Set { return r.did }

// Stuck says what is wrong with the message and cannot be repaired without harm;
// "" for nothing. What was read is then not to be used.
func (r *Reader) Stuck() string { return r.stuck }

// Read gives the repaired message. Errors are those of src, as they are.
func (r *Reader) Read(p []byte) (int, error) {
	for r.out.Len() == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.out.Reset()
		r.fill()
	}
	return r.out.Read(p)
}

// fill takes in what there is of src.
func (r *Reader) fill() {
	err := r.early
	if err == nil || r.src.Buffered() > 0 {
		_, err = r.src.Peek(1)
	}
	if err != nil {
		if err == io.EOF {
			r.end()
		}
		r.err = err
		return
	}
	chunk, _ := r.src.Peek(r.src.Buffered())
	for _, b := range chunk {
		r.octet(b)
	}
	r.src.Discard(len(chunk)) // it is buffered, so that this cannot fail
}

func (r *Reader) octet(b byte) {
	if b == 0 && r.want&NUL != 0 {
		if r.inHead || r.body.noNUL == "" {
			r.did |= NUL
			return
		}
		r.fail(stuck("NUL octets", r.body.noNUL))
	}
	if r.crs > 0 {
		switch {
		case b == '\n':
			term := crlf
			if r.crs > 1 {
				term = append(bytes.Repeat([]byte{'\r'}, r.crs), '\n')
			}
			r.crs = 0
			r.endLine(term)
			return
		case b == '\r' && r.crs < maxCRs:
			r.crs++
			return
		}
		r.bareCRs()
	}
	switch b {
	case '\r':
		r.crs = 1
	case '\n':
		r.endLine(crlf[1:])
	default:
		r.line = append(r.line, b)
		r.grown()
	}
}

// bareCRs deals with CRs that no LF follows.
func (r *Reader) bareCRs() {
	n := r.crs
	r.crs = 0
	for range n {
		switch {
		case r.want&CRLF == 0 || !r.inHead && r.body.noCRLF != "":
			if r.want&CRLF != 0 {
				r.fail(stuck("line ends", r.body.noCRLF))
			}
			r.line = append(r.line, '\r')
			r.grown()
		case r.crOnly || !r.inHead:
			r.endLine([]byte{'\r'})
		default:
			r.did |= CRLF
			if len(r.line) > 0 { // LF CR is a line end to some
				r.line = append(r.line, ' ')
			}
		}
	}
}

// endLine ends a line. term is its end as it is in the message, nil at the end of
// the message.
func (r *Reader) endLine(term []byte) {
	if r.inHead && r.first {
		if r.first = false; r.top && len(r.line) > 0 && !isField(r.line) && !isFromLine(r.line) {
			r.noHeader()
		}
	}
	line := r.line
	if r.inHead {
		r.header = append(append(r.header, line...), r.ended(term, "")...)
		r.line = r.line[:0]
		switch {
		case len(line) == 0:
			r.endHeader()
		case len(r.header) > maxHeader:
			r.overflow()
		}
		return
	}
	if !r.broken && r.isBoundary(line) {
		r.out.Write(line)
		r.out.Write(r.ended(term, ""))
		r.line = r.line[:0]
		r.cross(line)
		return
	}
	r.out.Write(line)
	r.out.Write(r.ended(term, r.body.noCRLF))
	r.line, r.broken, r.long = r.line[:0], false, false
}

// ended is how a line ends after its repair.
func (r *Reader) ended(term []byte, not string) []byte {
	if r.want&CRLF == 0 || string(term) == "\r\n" {
		return term
	}
	if not != "" {
		r.fail(stuck("line ends", not))
		return term
	}
	r.did |= CRLF
	return crlf
}

// end ends the message.
func (r *Reader) end() {
	if r.crs > 0 && r.want&CRLF != 0 && (r.inHead || r.body.noCRLF == "") {
		r.crs = 0
		r.endLine([]byte{'\r'}) // a line end that was cut off
	}
	r.bareCRs()
	if len(r.line) > 0 || r.broken {
		r.endLine(nil)
	}
	if r.inHead && (len(r.header) > 0 || !r.first) {
		r.endHeader()
	}
}

// fail notes that the message cannot be repaired.
func (r *Reader) fail(why string) {
	if r.stuck == "" {
		r.stuck = why
	}
}

// overflow gives up on a header that is too long to be held.
func (r *Reader) overflow() {
	r.fail("its header has more than 256 KiB")
	r.out.Write(r.header)
	r.header, r.inHead = nil, false
	r.body = content{kind: opaque, noNUL: inUnknown, noCRLF: inUnknown, noBreak: inUnknown}
}
