package export

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"postbag/internal/mail"
)

// Bounds of what is read.
const (
	maxMessage = 2 << 30  // octets of one message
	maxSmall   = 1 << 20  // of what is read into memory as a whole
	bombSize   = 64 << 20 // below that nothing is a bomb
	bombRatio  = 200      // octets that one octet of an archive may become, as a whole
)

// OpenOptions say what is read, and how.
type OpenOptions struct {
	Paths   []string  // Stdin among them stands for a stream
	Stdin   io.Reader // that stream, which is read once
	Dialect Dialect
	// Digests makes the store tell digests when it is asked to describe messages.
	// Without them the engine compares by reading, which it has to where the other
	// store knows no digests either.
	Digests bool
	// Temp is the directory for what has to be unpacked before it can be read: as
	// much as is in the archive. "" is the system's.
	Temp string
	Note func(format string, args ...any) // one line for the verbose
}

// Stdin is the path that stands for a stream.
const Stdin = "-"

// Archive is archives as one mail.Store, which can only be read. A message in a
// mailbox is named by its content: read again, or out of another archive, it has
// the same Ref; and of archives with equal messages each counts once, as often as
// the archive has them that has most.
type Archive struct {
	o        OpenOptions
	boxes    map[string]*archiveBox
	names    []string // sorted, when all is read
	close    []io.Closer
	problems []Problem

	// While it is read.
	ctx    context.Context
	source int    // which of Paths
	stored []byte // a message as it lies in the archive
	wire   []byte // the same message as it is on the wire
}

// archiveBox is one mailbox.
type archiveBox struct {
	name    string
	use     mail.SpecialUse
	entries []entry // sorted by key, when all is read
	bytes   int64
}

// entry is one message. There may be a million.
type entry struct {
	digest mail.Digest
	id     mail.MessageID
	vague  bool  // the header is so long that a Message-ID may be where nobody looked
	n      int32 // which of equal messages
	source int32
	coding coding
	flags  mail.Flags
	date   int64 // seconds since 1970; noDate for none
	size   int64 // of the wire form
	at     place
}

const noDate = -1 << 63

// place is where the octets of a message are.
type place struct {
	ra   io.ReaderAt
	off  int64
	n    int64
	zip  *zip.File // instead of ra: a member that is compressed
	path string    // instead of ra: a file of its own
}

// OpenArchive reads what is in archives. What cannot be read is a problem of the
// Archive; when nothing can, that is the error. Nothing is written, but to
// temporary files.
func OpenArchive(ctx context.Context, o OpenOptions) (*Archive, error) {
	if o.Note == nil {
		o.Note = func(string, ...any) {}
	}
	a := &Archive{o: o, ctx: ctx, boxes: map[string]*archiveBox{}}
	for i, path := range o.Paths {
		a.source = i
		read := a.readPath
		if path == Stdin {
			read, path = a.readStream, streamName
		}
		if err := read(path); err != nil {
			if ctx.Err() != nil || mail.AsError(err).Kind == mail.KindDisk {
				return nil, errors.Join(err, a.Close())
			}
			a.problem("", path, 0, mail.AsError(err))
		}
	}
	a.stored, a.wire = nil, nil
	a.settle()
	if len(a.boxes) == 0 && len(a.problems) > 0 {
		p := a.problems[0]
		e := *p.Err
		e.Op, e.Scope = p.Name, mail.ScopeAccount
		return nil, errors.Join(&e, a.Close())
	}
	return a, nil
}

// Problems are the messages that cannot be read, and what else is wrong.
func (a *Archive) Problems() []Problem { return a.problems }

// Messages is how many messages there are, and how many octets.
func (a *Archive) Messages() (n int, bytes int64) {
	for _, b := range a.boxes {
		n += len(b.entries)
		bytes += b.bytes
	}
	return n, bytes
}

func (a *Archive) problem(mailbox, name string, size int64, err *mail.Error) {
	a.problems = append(a.problems, Problem{Mailbox: mailbox, Name: name, Size: size, Err: err})
}

// settle numbers equal messages, and leaves out those that another archive has,
// too.
func (a *Archive) settle() {
	for name, b := range a.boxes {
		a.names = append(a.names, name)
		slices.SortStableFunc(b.entries, func(x, y entry) int {
			return cmp.Or(bytes.Compare(x.digest[:], y.digest[:]), cmp.Compare(x.source, y.source))
		})
		for i := 1; i < len(b.entries); i++ {
			if before := &b.entries[i-1]; before.digest == b.entries[i].digest && before.source == b.entries[i].source {
				b.entries[i].n = before.n + 1
			}
		}
		slices.SortStableFunc(b.entries, entry.compare)
		b.entries = slices.Clip(slices.CompactFunc(b.entries, func(x, y entry) bool { return x.compare(y) == 0 }))
		for i := range b.entries {
			b.bytes += b.entries[i].size
		}
	}
	slices.Sort(a.names)
}

func (e entry) compare(o entry) int {
	return cmp.Or(bytes.Compare(e.digest[:], o.digest[:]), cmp.Compare(e.n, o.n))
}

// key names the message. Keys sort as entries do.
func (e *entry) key() string {
	const digits = 10
	var b [2*sha256.Size + 1 + digits]byte
	hex.Encode(b[:], e.digest[:])
	b[2*sha256.Size] = '.'
	for i, n := len(b)-1, e.n; i > 2*sha256.Size; i, n = i-1, n/10 {
		b[i] = byte('0' + n%10)
	}
	return string(b[:])
}

// mailbox is the mailbox of a name, made when there is none.
func (a *Archive) mailbox(name string, use mail.SpecialUse) *archiveBox {
	b := a.boxes[name]
	if b == nil {
		b = &archiveBox{name: name}
		a.boxes[name] = b
	}
	if b.use == "" {
		b.use = use
	}
	return b
}

// found is a message that was found in an archive.
type found struct {
	name   string // for problems
	at     place
	coding coding
	auto   bool // whether line ends are LF for CRLF is to be seen from the content
	box    string
	flags  mail.Flags
	date   time.Time // where neither manifest nor header has one
	sent   time.Time // of a From_ line, which goes before the header's
	man    *manifest
	key    uint64 // in the manifest
}

// add takes a message in.
func (a *Archive) add(f found) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if f.at.n > maxMessage {
		a.problem(f.box, f.name, f.at.n, messageError(mail.KindRefused, fmt.Errorf("it is larger than %d octets", int64(maxMessage)), ""))
		return nil
	}
	p, err := a.part(&f.at)
	if err == nil && f.auto {
		var crlf bool
		crlf, err = hasCRLF(&p)
		f.coding.lf = !crlf
	}
	var e entry
	var head []byte
	var rec *rec
	if err == nil {
		e, head, rec, err = a.identify(&f, &p)
	}
	if err != nil {
		if me, ok := errors.AsType[*mail.Error](err); ok && me.Scope == mail.ScopeMessage {
			a.problem(f.box, f.name, f.at.n, me)
			return nil
		}
		if me, ok := errors.AsType[*mail.Error](err); ok && me.Kind == mail.KindDisk || a.ctx.Err() != nil {
			return err
		}
		a.problem(f.box, f.name, f.at.n, messageError(mail.KindIntegrity, err, ""))
		return nil
	}
	a.enter(&f, e, head, rec)
	return nil
}

// enter puts a message into its mailboxes, as manifest or header have it.
func (a *Archive) enter(f *found, e entry, head []byte, rec *rec) {
	e.at, e.source, e.id = f.at, int32(a.source), mail.MessageIDOf(head)
	e.vague = e.id == 0 && e.size > int64(len(head)) && headerEnd(head) < 0
	if rec != nil {
		rec.used = true
		e.flags, e.date = rec.flags, rec.date
		b := a.mailbox(rec.box, "")
		b.entries = append(b.entries, e)
		return
	}
	t := tell(head)
	if t.isGone || t.isData {
		a.o.Note("%s: left out: it was deleted, or is the file's own", f.name)
		return
	}
	e.flags, e.date = f.flags.Union(t.flags), noDate
	for _, at := range []time.Time{f.sent, t.date, f.date} {
		if !at.IsZero() {
			e.date = at.Unix()
			break
		}
	}
	boxes := t.boxes
	if boxes == nil {
		boxes = []string{f.box}
	}
	for _, name := range boxes {
		b := a.mailbox(name, "")
		b.entries = append(b.entries, e)
	}
}

var errNotListed = errors.New("it is not what the manifest says: its SHA-256 differs")

// identify finds the digest of a message, and its record. A record that disagrees
// is an error.
func (a *Archive) identify(f *found, p *part) (e entry, head []byte, r *rec, err error) {
	e.coding = f.coding
	if f.man == nil {
		e.digest, e.size, head, err = a.digest(p, f.coding)
		return e, head, nil, err
	}
	if r = f.man.find(f.key); r != nil {
		e.coding = r.coding()
		if e.digest, e.size, head, err = a.digest(p, e.coding); err != nil || e.digest == r.digest {
			return e, head, r, err
		}
		r.used = true
	}
	e.coding = f.coding
	e.digest, e.size, head, err = a.digest(p, f.coding)
	if err != nil || r != nil && e.digest == r.digest {
		return e, head, r, err
	}
	if r == nil {
		return e, head, f.man.of(e.digest), nil
	}
	return e, head, nil, messageError(mail.KindIntegrity, errNotListed, "it was changed since it was written; without the manifest it is taken as it is")
}

// digest reads a message through. What is small is in a.wire afterwards.
func (a *Archive) digest(p *part, c coding) (d mail.Digest, size int64, head []byte, err error) {
	if p.file == nil {
		wire := p.mem
		if !c.plain() {
			a.wire = decodeAll(a.wire[:0], p.mem, c)
			wire = a.wire
		}
		return sha256.Sum256(wire), int64(len(wire)), wire[:min(len(wire), mail.MaxHeader)], nil
	}
	sum := sha256.New()
	r := newDecodeReader(p.reader(), c)
	head = make([]byte, mail.MaxHeader)
	n, err := io.ReadFull(r, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	head = head[:n]
	sum.Write(head)
	if err == nil {
		size, err = io.Copy(sum, r)
	}
	sum.Sum(d[:0])
	return d, size + int64(n), head, err
}

// part gets at the octets of a message. What is compressed and does not fit into
// memory is unpacked into a temporary file, where it stays.
func (a *Archive) part(at *place) (part, error) {
	if at.zip != nil {
		return a.zipPart(at)
	}
	if at.path != "" {
		f, err := openRegular(at.path)
		if err != nil {
			return part{}, err
		}
		defer f.Close()
		if at.n > maxSmall {
			return a.keep(f, at)
		}
		a.stored = slices.Grow(a.stored[:0], int(at.n)+1)[:at.n]
		_, err = io.ReadFull(f, a.stored)
		return part{mem: a.stored, size: at.n}, err
	}
	if at.n > maxSmall {
		return part{file: at.ra, off: at.off, size: at.n}, nil
	}
	a.stored = slices.Grow(a.stored[:0], int(at.n)+1)[:at.n]
	n, err := at.ra.ReadAt(a.stored, at.off)
	if n == len(a.stored) {
		err = nil
	}
	return part{mem: a.stored, size: at.n}, err
}

// keep keeps a large file of its own open.
func (a *Archive) keep(_ *os.File, at *place) (part, error) {
	f, err := openRegular(at.path)
	if err != nil {
		return part{}, err
	}
	a.close = append(a.close, f)
	*at = place{ra: f, n: at.n}
	return part{file: f, size: at.n}, nil
}

// openRegular opens a file that is none of the kinds that block.
func openRegular(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("it is no file"), err, f.Close())
	}
	return f, nil
}

// Close closes what is open. Temporary files go with it.
func (a *Archive) Close() error {
	var errs []error
	for _, c := range a.close {
		errs = append(errs, c.Close())
	}
	a.close = nil
	return errors.Join(errs...)
}

// readPath reads one of Paths.
func (a *Archive) readPath(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return usage("", "%w", bare(err))
	}
	if info.IsDir() {
		return a.readDir(path)
	}
	f, err := openRegular(path)
	if err != nil {
		return usage("", "%w", bare(err))
	}
	a.close = append(a.close, f)
	var man *manifest
	if m, err := openRegular(path + ManifestEnding); err == nil {
		man, err = a.manifest(m, path+ManifestEnding)
		if err = errors.Join(err, m.Close()); err != nil {
			return err
		}
	}
	return a.readFile(file{ra: f, size: info.Size(), name: path, box: boxOfFile(path), date: info.ModTime(), man: man}, 0)
}

func bare(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// file is a file that may be anything.
type file struct {
	ra     io.ReaderAt
	size   int64
	name   string
	member string // its name in the manifest; "" when it has one of its own beside it
	box    string // for what names no mailbox
	date   time.Time
	man    *manifest
}

// maxDepth is how often something may be packed that is packed.
const maxDepth = 2

// readFile reads a file, whatever it is.
func (a *Archive) readFile(f file, depth int) error {
	head := make([]byte, 512)
	n, err := f.ra.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	head = head[:n]
	switch kind := sniff(head); {
	case kind == Zip:
		return a.readZip(f, depth)
	case kind == TarGz || kind == TarZst:
		if depth >= maxDepth {
			return integrity("it is packed too often")
		}
		temp, size, err := a.unpack(kind, io.NewSectionReader(f.ra, 0, f.size), func() int64 { return f.size })
		if err != nil && temp == nil {
			return err
		}
		if err != nil {
			a.problem("", f.name, f.size, mail.AsError(err))
		}
		f.ra, f.size = temp, size
		return a.readFile(f, depth+1)
	case kind == Tar:
		return a.readTar(f, depth)
	case kind == Mbox || len(head) == 0 && strings.HasSuffix(strings.ToLower(f.name), mboxEnding):
		return a.readMbox(f)
	case kind == EML || strings.HasSuffix(strings.ToLower(f.name), ".eml"):
		return a.add(found{name: f.name, at: place{ra: f.ra, n: f.size}, auto: true, box: f.box, date: f.date, man: f.man, key: manifestKey(ManifestName, -1)})
	case FormatOf(f.name) == Mbox:
		return integrity("it does not begin with a From line, so it is no mbox")
	}
	return integrity("it is none of mbox, eml, zip, tar, and tar with gzip or zstd")
}

func integrity(format string, args ...any) *mail.Error {
	return messageError(mail.KindIntegrity, fmt.Errorf(format, args...), "")
}

// sniff tells the format by the first octets; "" when they tell none.
func sniff(head []byte) Format {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return Zip
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return TarGz
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return TarZst
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return Tar
	case bytes.HasPrefix(head, []byte(fromLine)):
		return Mbox
	case looksLikeMail(head):
		return EML
	}
	return ""
}

// looksLikeMail reports whether the first line is a field of a header.
func looksLikeMail(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	name, _, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 {
		return false
	}
	for _, c := range bytes.TrimRight(name, " \t") {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
