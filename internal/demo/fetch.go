package demo

import (
	"bytes"
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"postbag/internal/mail"
)

func (s *session) Fetch(w *imapserver.FetchWriter, set imap.NumSet, o *imap.FetchOptions) error {
	if err := s.beforeSelected("FETCH"); err != nil {
		return err
	}
	s.account.mu.Lock()
	picked := s.view.pick(set)
	if !s.view.readOnly && marksSeen(o) {
		for i, p := range picked {
			s.view.box.setFlags(p.msg, p.msg.flags.Union(mail.Flags{System: mail.Seen}))
			picked[i].flags = p.msg.flags
		}
	}
	s.account.mu.Unlock()
	for _, p := range picked {
		if err := p.write(w.CreateMessage(p.seq), o); err != nil {
			return err
		}
	}
	return nil
}

// marksSeen reports whether a FETCH reads a body without .PEEK.
func marksSeen(o *imap.FetchOptions) bool {
	for _, section := range o.BodySection {
		if !section.Peek {
			return true
		}
	}
	for _, section := range o.BinarySection {
		if !section.Peek {
			return true
		}
	}
	return false
}

func (p selected) write(w *imapserver.FetchResponseWriter, o *imap.FetchOptions) (err error) {
	// After an error as well: until then nothing else can be written, and the
	// session would hang.
	defer func() { err = errors.Join(err, w.Close()) }()
	w.WriteUID(imap.UID(p.msg.uid))
	if o.Flags {
		w.WriteFlags(wireFlags(p.flags))
	}
	if o.InternalDate {
		w.WriteInternalDate(p.msg.date)
	}
	if o.RFC822Size {
		w.WriteRFC822Size(int64(len(p.msg.raw)))
	}
	if o.Envelope {
		w.WriteEnvelope(envelope(p.msg.raw))
	}
	if o.BodyStructure != nil {
		w.WriteBodyStructure(imapserver.ExtractBodyStructure(bytes.NewReader(p.msg.raw)))
	}
	for _, section := range o.BodySection {
		data := bodySection(p.msg.raw, section)
		lit := w.WriteBodySection(section, int64(len(data)))
		if _, err := lit.Write(data); err != nil {
			return err
		}
		if err := lit.Close(); err != nil {
			return err
		}
	}
	return nil
}

// bodySection is one section of a message. The whole message and its header
// are cut out of the octets as they are; parts are left to the library, which
// parses MIME.
func bodySection(raw []byte, section *imap.FetchItemBodySection) []byte {
	if len(section.Part) > 0 {
		return imapserver.ExtractBodySection(bytes.NewReader(raw), section)
	}
	header, body := splitHeader(raw)
	var data []byte
	switch {
	case section.Specifier == imap.PartSpecifierText:
		data = body
	case section.Specifier == imap.PartSpecifierNone:
		data = raw
	case section.HeaderFields != nil:
		data = selectFields(header, section.HeaderFields, true)
	case section.HeaderFieldsNot != nil:
		data = selectFields(header, section.HeaderFieldsNot, false)
	default:
		data = header
	}
	if part := section.Partial; part != nil {
		data = data[min(max(part.Offset, 0), int64(len(data))):]
		data = data[:min(max(part.Size, 0), int64(len(data)))]
	}
	return data
}

// splitHeader splits a message after its first empty line; without one all of
// it is header.
func splitHeader(raw []byte) (header, body []byte) {
	for at := 0; at < len(raw); {
		end := bytes.IndexByte(raw[at:], '\n')
		if end < 0 {
			break
		}
		line := raw[at : at+end]
		at += end + 1
		if len(bytes.TrimSuffix(line, []byte("\r"))) == 0 {
			return raw[:at], raw[at:]
		}
	}
	return raw, nil
}

// selectFields is the header with only the fields named, or without them, and
// the empty line (RFC 9051, 6.4.5, HEADER.FIELDS).
func selectFields(header []byte, names []string, want bool) []byte {
	var out []byte
	take := false
	for line := range bytes.Lines(header) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			take = contains(names, strings.TrimSpace(string(name))) == want
		}
		if take {
			out = append(out, line...)
		}
	}
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, "\r\n"...)
	}
	return append(out, "\r\n"...)
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}
