package export

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"postbag/internal/mail"
)

// mboxReader goes through an mbox file.
type mboxReader struct {
	ra   io.ReaderAt
	size int64
	// loose says that From_ lines of this file have no date that can be read: then
	// any line that begins with "From " behind an empty one is one.
	loose bool
	buf   []byte // the file from base on
	base  int64
	err   error
}

// mboxMessage is one message of an mbox: [start, end) of the file.
type mboxMessage struct {
	from       int64 // where its From_ line begins
	start, end int64
	date       time.Time
	counted    bool // its length was told by Content-Length
}

const (
	mboxWindow = 1 << 20
	longestSep = 1 << 10 // of a From_ line
)

// at is what the file holds from off on: at least n octets, unless it ends before.
// It holds until the next call.
func (m *mboxReader) at(off int64, n int) []byte {
	if off >= m.base && off+int64(n) <= m.base+int64(len(m.buf)) {
		return m.buf[off-m.base:]
	}
	if m.buf == nil {
		m.buf = make([]byte, 0, mboxWindow)
	}
	want := min(int64(max(n, mboxWindow)), m.size-off)
	if want <= 0 {
		return nil
	}
	if int64(cap(m.buf)) < want {
		m.buf = make([]byte, 0, want)
	}
	k, err := m.ra.ReadAt(m.buf[:want], off)
	if err != nil && err != io.EOF {
		m.err = err
	}
	m.base, m.buf = off, m.buf[:k]
	return m.buf
}

// line is the line that begins at off, without its end, and where the next begins.
func (m *mboxReader) line(off int64) (line string, next int64) {
	p := m.at(off, longestSep)
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		return string(p), off + int64(len(p))
	}
	return strings.TrimSuffix(string(p[:end]), "\r"), off + int64(end) + 1
}

// separated reports whether a From_ line begins at off, behind an empty line or not.
func (m *mboxReader) separated(off int64, blank bool) bool {
	p := m.at(off, longestSep)
	if !bytes.HasPrefix(p, []byte(fromLine)) {
		return false
	}
	if m.loose {
		return blank
	}
	line, _ := m.line(off)
	_, ok := parseFrom(line)
	return ok
}

// next is where the next From_ line behind off begins, or the end of the file.
func (m *mboxReader) next(off int64) int64 {
	needle := []byte("\n" + fromLine)
	for off < m.size && m.err == nil {
		p := m.at(off, len(needle))
		if len(p) == 0 { // cut short while it is read
			m.err = io.ErrUnexpectedEOF
			break
		}
		i := bytes.Index(p, needle)
		if i < 0 {
			off += int64(max(len(p)-len(needle)+1, 1))
			continue
		}
		at := off + int64(i) + 1
		blank := m.emptyBefore(at) > 0
		if m.separated(at, blank) {
			return at
		}
		off = at
	}
	return m.size
}

// emptyBefore is the length of the empty line that ends right before off; 0 when
// there is none.
func (m *mboxReader) emptyBefore(off int64) int64 {
	p := make([]byte, min(off, 3))
	if _, err := m.ra.ReadAt(p, off-int64(len(p))); err != nil && err != io.EOF {
		m.err = err
	}
	switch {
	case bytes.HasSuffix(p, []byte("\n\r\n")):
		return 2
	case bytes.HasSuffix(p, []byte("\n\n")):
		return 1
	}
	return 0
}

// message finds out where the message whose From_ line begins at off ends, and
// where the next one begins. counts says whether Content-Length is believed.
func (m *mboxReader) message(off int64, counts bool) (msg mboxMessage, next int64) {
	line, start := m.line(off)
	msg = mboxMessage{from: off, start: start}
	msg.date, _ = parseFrom(line)
	if counts {
		if end, after, ok := m.counted(start); ok {
			msg.end, msg.counted = end, true
			return msg, after
		}
	}
	if start >= m.size {
		msg.start, msg.end = m.size, m.size
		return msg, m.size
	}
	next = m.next(start - 1)
	msg.end = max(next-m.emptyBefore(next), start)
	return msg, next
}

// counted is where a message ends by its Content-Length, if another one, or nothing,
// follows there.
func (m *mboxReader) counted(start int64) (end, next int64, ok bool) {
	head := m.at(start, 64<<10)
	head = head[:min(len(head), 64<<10)]
	body := headerEnd(head)
	if body < 0 {
		return 0, 0, false
	}
	n, err := strconv.ParseInt(readFields(head[:body], "content-length").first("content-length"), 10, 64)
	if err != nil || n < 0 || n > m.size-start-int64(body) {
		return 0, 0, false
	}
	end = start + int64(body) + n
	p := m.at(end, longestSep)
	for _, gap := range []string{"", "\n", "\r\n"} {
		if rest, found := bytes.CutPrefix(p, []byte(gap)); found && (len(rest) == 0 || m.separated(end+int64(len(gap)), true)) {
			return end, end + int64(len(gap)), true
		}
		p = m.at(end, longestSep)
	}
	return 0, 0, false
}

// headerEnd is where the body of a message begins; -1 when its header has no end.
func headerEnd(head []byte) int {
	for at := 0; at < len(head); {
		end := at + fieldEnd(head[at:])
		if line := bytes.TrimRight(head[at:end], "\r\n"); len(line) == 0 {
			return end
		}
		at = end
	}
	return -1
}

// readMbox reads the messages of an mbox file.
func (a *Archive) readMbox(f file) error {
	m := &mboxReader{ra: f.ra, size: f.size}
	if f.man == nil {
		a.mailbox(f.box, "")
	}
	dialect := a.o.Dialect
	if f.man != nil {
		dialect = MboxRD
	} else {
		line, _ := m.line(0)
		_, dated := parseFrom(line)
		m.loose = !dated
	}
	for off := int64(0); off < f.size; {
		msg, next := m.message(off, dialect == Auto || dialect == MboxCL || dialect == CL2)
		if m.err != nil {
			return messageError(mail.KindDisk, m.err, "")
		}
		c := coding{quote: quotedRD}
		switch {
		case dialect == MboxO:
			c.quote = quotedOnce
		case dialect == CL2 || dialect == Auto && msg.counted:
			c.quote = quotedNot
		}
		err := a.add(found{
			name: fmt.Sprintf("%s, octet %d", f.name, msg.from), at: place{ra: f.ra, off: msg.start, n: msg.end - msg.start},
			coding: c, auto: true, box: f.box, sent: msg.date, date: f.date, man: f.man, key: manifestKey(f.member, msg.from),
		})
		if err != nil {
			return err
		}
		off = next
	}
	if f.man != nil && f.member == "" {
		a.missing(f.man)
	}
	return nil
}
