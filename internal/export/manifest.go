package export

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"postbag/internal/mail"
)

// ManifestName is the manifest's name in a folder, a zip and a tar. Beside a single
// mbox file it is the file's name and ManifestEnding.
const (
	ManifestName   = "manifest.jsonl"
	ManifestEnding = ".jsonl"
)

const manifestVersion = 1

// manifestHead is the first line of a manifest.
type manifestHead struct {
	Manifest string `json:"manifest"` // "postbag"
	Version  int    `json:"version"`
	Format   Format `json:"format"`
}

// manifestTail is the last line of a manifest: without it the manifest is cut off.
type manifestTail struct {
	End      bool  `json:"end"`
	Messages int   `json:"messages"`
	Bytes    int64 `json:"bytes"`
}

// form says how the octets of a message lie in an archive.
type form string

const (
	formWire form = "wire" // as they are on the wire; the form of everything but mbox
	formLF   form = "lf"   // in mbox: LF for each CRLF, From lines quoted
	formRaw  form = "raw"  // in mbox: From lines quoted, nothing else
)

// record is one line of a manifest: a message, or without a SHA256 a mailbox.
// docs/archives.md describes it. Fields are added, never taken away.
type record struct {
	Mailbox string `json:"mailbox"`
	// Octets is the mailbox's name in base64 when that is no UTF-8.
	Octets   string   `json:"octets,omitempty"`
	Role     string   `json:"role,omitempty"`
	Name     string   `json:"name,omitempty"`
	Offset   *int64   `json:"offset,omitempty"`
	Form     form     `json:"form,omitempty"`
	Open     bool     `json:"open,omitempty"`
	Flags    []string `json:"flags,omitempty"`
	Keywords []string `json:"keywords,omitempty"`
	Date     string   `json:"date,omitempty"`
	Size     *int64   `json:"size,omitempty"`
	SHA256   string   `json:"sha256,omitempty"`
	// Of the last line.
	End bool `json:"end,omitempty"`
}

// mailbox is the name of the record's mailbox.
func (r *record) mailbox() string {
	if octets, err := base64.StdEncoding.DecodeString(r.Octets); err == nil && len(octets) > 0 {
		return string(octets)
	}
	return r.Mailbox
}

func (r *record) setMailbox(name string) {
	r.Mailbox = name
	if !utf8.ValidString(name) {
		r.Octets = base64.StdEncoding.EncodeToString([]byte(name))
	}
}

// flags are the record's flags and keywords. What is none is left out.
func (r *record) flags() mail.Flags {
	return mail.ParseFlags(append(append([]string{}, r.Flags...), r.Keywords...)...)
}

func (r *record) date() time.Time {
	at, err := time.Parse(time.RFC3339, r.Date)
	if err != nil {
		return time.Time{}
	}
	return at
}

func (r *record) digest() (d mail.Digest, ok bool) {
	n, err := hex.Decode(d[:], []byte(r.SHA256)[:min(len(r.SHA256), 2*len(d))])
	return d, err == nil && n == len(d) && len(r.SHA256) == 2*len(d)
}

// manifestWriter writes a manifest into a temporary file, since an archive has to
// be told its length before its content.
type manifestWriter struct {
	file *tempFile
	w    *bufio.Writer
	enc  *json.Encoder
	tail manifestTail
}

func newManifest(dir string, f Format) (*manifestWriter, error) {
	file, err := newTemp(dir)
	if err != nil {
		return nil, err
	}
	m := &manifestWriter{file: file, w: bufio.NewWriterSize(file, 64<<10), tail: manifestTail{End: true}}
	m.enc = json.NewEncoder(m.w)
	m.enc.SetEscapeHTML(false)
	if err := m.enc.Encode(manifestHead{"postbag", manifestVersion, f}); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return m, nil
}

func (m *manifestWriter) mailbox(info mail.MailboxInfo) error {
	r := record{Role: string(info.Use)}
	r.setMailbox(info.Name)
	return m.enc.Encode(r)
}

// message adds a message that has been written. Where it lies is set already.
func (m *manifestWriter) message(r record, it *item) error {
	r.setMailbox(it.mailbox)
	for _, name := range it.msg.Flags.Names() {
		if name[0] == '\\' {
			r.Flags = append(r.Flags, name)
		}
	}
	r.Keywords = it.msg.Flags.Keywords.Words()
	if at := it.msg.Date; !at.IsZero() {
		r.Date = at.UTC().Format(time.RFC3339)
	}
	r.Size, r.SHA256 = &it.msg.Size, it.msg.ID.Digest.String()
	m.tail.Messages++
	m.tail.Bytes += it.msg.Size
	return m.enc.Encode(r)
}

// end completes the manifest and gives it to be read from its beginning.
func (m *manifestWriter) end() (size int64, r io.Reader, err error) {
	if err = m.enc.Encode(m.tail); err == nil {
		err = m.w.Flush()
	}
	if err == nil {
		size, err = m.file.Seek(0, io.SeekEnd)
	}
	if err == nil {
		_, err = m.file.Seek(0, io.SeekStart)
	}
	return size, m.file, err
}

func (m *manifestWriter) Close() error { return m.file.Close() }

// maxManifestLine bounds one line of a manifest that is read.
const maxManifestLine = 1 << 20

var errNoManifest = errors.New("it is no manifest of postbag")

// readManifest calls fn for each record. whole tells whether the last line is
// there. Lines that cannot be read are counted.
func readManifest(from io.Reader, fn func(*record)) (whole bool, bad int, err error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxManifestLine)
	var head manifestHead
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &head) != nil || head.Manifest != "postbag" {
		return false, 0, errors.Join(errNoManifest, lines.Err())
	}
	if head.Version > manifestVersion {
		return false, 0, errors.New("the manifest was written by a newer postbag")
	}
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		var r record
		switch err := json.Unmarshal(line, &r); {
		case len(line) == 0:
		case err != nil:
			bad++
		case r.End:
			whole = true
		default:
			fn(&r)
		}
	}
	return whole, bad, lines.Err()
}
