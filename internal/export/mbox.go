package export

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postbag/internal/mail"
)

// An mbox holds each message behind a From_ line, with an empty line after it. The
// dialect is mboxrd: a line that begins with any number of ">" and "From " gets one
// more ">", which can be undone whatever the line was. Line ends are LF where that
// can be undone, too (every LF follows a CR, and no CR LF follows a CR), as in a
// Maildir; any other message keeps its own. Where the last line has no end, one is
// added; the manifest says so.

const fromLine = "From "

// sender is who a From_ line says that a message is from: the address of its
// Return-Path. Readers want one word there.
func sender(returnPath string) string {
	_, addr, ok := strings.Cut(returnPath, "<")
	if !ok {
		addr = returnPath
	}
	addr, _, _ = strings.Cut(addr, ">")
	for i := range len(addr) {
		if addr[i] <= ' ' || addr[i] >= 0x7f {
			return "MAILER-DAEMON"
		}
	}
	if addr == "" || len(addr) > 250 {
		return "MAILER-DAEMON"
	}
	return addr
}

// separator is the From_ line of a message. A date that it cannot say is the
// beginning of 1970.
func separator(it *item) string {
	at := it.msg.Date.UTC()
	if it.msg.Date.IsZero() || at.Year() < 1 || at.Year() > 9999 {
		at = time.Unix(0, 0).UTC()
	}
	return fromLine + it.sender + " " + at.Format("Mon Jan _2 15:04:05 2006") + "\n"
}

// canLF reports whether the CRLFs of a message may be written as LF.
func canLF(r io.Reader) (bool, error) {
	piece := make([]byte, 64<<10)
	var last [2]byte
	for {
		n, err := r.Read(piece)
		if !lfIn(piece[:n], &last) {
			return false, nil
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// lfIn is canLF of a piece; last are the two octets before it.
func lfIn(p []byte, last *[2]byte) bool {
	before := func(i int) byte {
		if i >= 0 {
			return p[i]
		}
		return last[2+i]
	}
	for from := 0; ; {
		i := bytes.IndexByte(p[from:], '\n')
		if i < 0 {
			break
		}
		i += from
		if before(i-1) != '\r' || before(i-2) == '\r' {
			return false
		}
		from = i + 1
	}
	if n := len(p); n > 0 {
		*last = [2]byte{before(n - 2), before(n - 1)}
	}
	return true
}

// quoter turns the wire form of a message, piece by piece, into that of an mbox.
type quoter struct {
	lf    bool // write LF for CRLF
	out   []byte
	seen  int  // octets of "From " at the begin of this line, held back; -1 past the begin
	held  bool // a CR that may belong to a CRLF
	ended bool // the last octet written ended a line
}

// write takes a piece.
func (q *quoter) write(p []byte) {
	for len(p) > 0 {
		if q.held {
			q.held = false
			if p[0] != '\n' {
				q.put('\r')
			}
		}
		if q.seen >= 0 {
			p = q.begin(p)
			continue
		}
		end := bytes.IndexByte(p, '\n')
		line := p
		if end >= 0 {
			line = p[:end]
		}
		if n := len(line); q.lf && n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
			q.held = end < 0
		}
		q.out = append(q.out, line...)
		if end < 0 {
			return
		}
		q.out = append(q.out, '\n')
		q.seen = 0
		p = p[end+1:]
	}
}

// put writes an octet that is no LF and was held back; it stands in the middle of a
// line.
func (q *quoter) put(c byte) {
	q.release()
	q.out = append(q.out, c)
}

// release writes what was held back of a beginning that is not "From ".
func (q *quoter) release() {
	if q.seen > 0 {
		q.out = append(q.out, fromLine[:q.seen]...)
	}
	q.seen = -1
}

// begin takes the beginning of a line. Any ">" is written as it comes: one more may
// stand at their end as well.
func (q *quoter) begin(p []byte) []byte {
	for i, c := range p {
		switch {
		case q.seen == 0 && c == '>':
			q.out = append(q.out, c)
		case c == fromLine[q.seen]:
			if q.seen++; q.seen == len(fromLine) {
				q.out = append(append(q.out, '>'), fromLine...)
				q.seen = -1
				return p[i+1:]
			}
		default:
			q.release()
			return p[i:]
		}
	}
	return nil
}

// end writes what was held back, and tells whether the last line has no end.
func (q *quoter) end() (open bool) {
	if q.held {
		q.held = false
		q.put('\r')
	}
	q.release()
	return len(q.out) > 0 && q.out[len(q.out)-1] != '\n'
}

// prepareMbox makes the mbox form of a message that is in memory.
func prepareMbox(it *item, enc []byte) ([]byte, error) {
	lf, err := true, error(nil)
	if it.body.file == nil {
		lf = lfIn(it.body.mem, new([2]byte))
	} else {
		lf, err = canLF(it.body.reader())
	}
	if it.form = formRaw; lf {
		it.form = formLF
	}
	if err != nil || it.body.file != nil {
		return enc, err
	}
	start := len(enc)
	q := quoter{lf: lf, out: append(enc, separator(it)...)}
	q.write(it.body.mem)
	if it.open = q.end(); it.open {
		q.out = append(q.out, '\n')
	}
	q.out = append(q.out, '\n')
	it.enc = part{mem: q.out[start:len(q.out):len(q.out)]}
	return q.out, nil
}

// mboxStream writes messages into one mbox.
type mboxStream struct {
	w   *bufio.Writer
	off int64
}

func (m *mboxStream) add(it *item) (offset int64, err error) {
	offset = m.off
	if it.enc.mem != nil {
		_, err = m.w.Write(it.enc.mem)
		m.off += int64(len(it.enc.mem))
		return offset, err
	}
	q := quoter{lf: it.form == formLF, out: []byte(separator(it))}
	flush := func() error {
		n, err := m.w.Write(q.out)
		m.off += int64(n)
		q.ended = n > 0 && q.out[n-1] == '\n' || n == 0 && q.ended
		q.out = q.out[:0]
		return err
	}
	body, piece := it.body.reader(), make([]byte, 64<<10)
	for {
		n, err := body.Read(piece)
		q.write(piece[:n])
		if ferr := flush(); ferr != nil {
			return offset, ferr
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return offset, err
		}
	}
	q.end()
	if err := flush(); err != nil {
		return offset, err
	}
	if it.open = !q.ended; it.open {
		q.out = append(q.out, '\n')
	}
	q.out = append(q.out, '\n')
	return offset, flush()
}

// mboxRecord says where a message lies in an mbox; name is "" for the one that the
// manifest lies beside.
func mboxRecord(name string, offset int64, it *item) record {
	return record{Name: name, Offset: &offset, Form: it.form, Open: it.open}
}

// mboxFile is one mbox with the messages of all mailboxes, and the manifest beside
// it.
type mboxFile struct {
	mboxStream
	out    *output
	beside *staged // nil for a stream
}

func newMboxFile(o *Options, out *output) (*mboxFile, error) {
	m := &mboxFile{mboxStream: mboxStream{w: out.w}, out: out}
	if out.staged == nil {
		return m, nil
	}
	var err error
	if m.beside, err = stageFile(out.staged.path + ManifestEnding); err != nil {
		out.abort()
		return nil, err
	}
	return m, nil
}

func (m *mboxFile) box(mail.MailboxInfo) error { return nil }

func (m *mboxFile) prepare(it *item, enc []byte) ([]byte, error) { return prepareMbox(it, enc) }

func (m *mboxFile) add(it *item) (record, error) {
	offset, err := m.mboxStream.add(it)
	return mboxRecord("", offset, it), err
}

// finish commits the manifest first: with that of another file beside it an mbox
// can be read all the same, by its contents.
func (m *mboxFile) finish(manifest *manifestWriter) error {
	if m.beside == nil {
		return m.out.finish()
	}
	err := m.w.Flush()
	if err == nil {
		err = m.out.staged.file.Sync() // or a full disk would leave the manifest alone
	}
	if err == nil {
		err = copyManifest(manifest, m.beside.file)
	}
	if err == nil {
		err = m.beside.commit()
	}
	if err != nil {
		return err
	}
	return m.out.finish()
}

func (m *mboxFile) abort() {
	m.out.abort()
	if m.beside != nil {
		m.beside.abort()
	}
}

// mboxFolder is a folder with an mbox for each mailbox.
type mboxFolder struct {
	mboxStream
	dir   *staged
	paths *paths
	file  *os.File // of the mailbox that is being written
	name  string
}

const mboxEnding = ".mbox"

func (m *mboxFolder) box(info mail.MailboxInfo) error {
	if err := m.endBox(); err != nil {
		return err
	}
	m.name = m.paths.of(info.Name, mboxEnding)
	path := filepath.Join(m.dir.part, filepath.FromSlash(m.name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	m.file, m.mboxStream = f, mboxStream{w: bufio.NewWriterSize(f, 1<<18)}
	return nil
}

func (m *mboxFolder) endBox() error {
	if m.file == nil {
		return nil
	}
	err := errors.Join(m.w.Flush(), m.file.Close())
	m.file = nil
	return err
}

func (m *mboxFolder) prepare(it *item, enc []byte) ([]byte, error) { return prepareMbox(it, enc) }

func (m *mboxFolder) add(it *item) (record, error) {
	offset, err := m.mboxStream.add(it)
	return mboxRecord(m.name, offset, it), err
}

func (m *mboxFolder) finish(manifest *manifestWriter) error {
	if err := m.endBox(); err != nil {
		return err
	}
	if err := putManifest(manifest, filepath.Join(m.dir.part, ManifestName)); err != nil {
		return err
	}
	return m.dir.commit()
}

func (m *mboxFolder) abort() {
	if m.file != nil {
		m.file.Close()
		m.file = nil
	}
	m.dir.abort()
}
