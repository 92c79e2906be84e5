package demo

import (
	"encoding/hex"
	"io"
)

const largeHead = "Date: Sat, 29 Feb 2020 12:00:00 +0000\r\nFrom: a@example.org\r\nTo: b@example.org\r\n" +
	"Subject: large\r\nMessage-ID: <large@mail.example.org>\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"

// Large is one message of exactly size octets in lines of at most 78, the same
// for the same size, made while it is read: it takes no memory to speak of.
// Every line ends in CRLF, except where size is too small for one.
func Large(size int64) io.Reader {
	head := largeHead
	if size < int64(len(head)) {
		head = head[:max(size, 0)]
	}
	return &large{line: []byte(head), left: size - int64(len(head))}
}

// large makes one line at a time.
type large struct {
	line  []byte // what of the current line was not read yet
	buf   [78]byte
	left  int64 // octets after line
	state uint64
}

// Read never fails before the end.
func (l *large) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(l.line) == 0 && !l.next() {
			return n, io.EOF
		}
		copied := copy(p[n:], l.line)
		n += copied
		l.line = l.line[copied:]
	}
	return n, nil
}

// next makes a line of hexadecimal digits, from a counter that is mixed so that
// neither compression nor deduplication gets far.
func (l *large) next() bool {
	if l.left <= 0 {
		return false
	}
	size := int(min(l.left, int64(len(l.buf))))
	if rest := l.left - int64(size); rest == 1 {
		size-- // a lone octet could not hold a CRLF
	}
	var raw [38]byte
	for i := range raw {
		l.state = l.state*6364136223846793005 + 1442695040888963407
		raw[i] = byte(l.state >> 56)
	}
	hex.Encode(l.buf[:76], raw[:])
	l.line = l.buf[:size]
	if size >= 2 {
		l.line[size-2], l.line[size-1] = '\r', '\n'
	}
	l.left -= int64(size)
	return true
}
