package export

import (
	"errors"
	"hash/fnv"
	"io"
	"strconv"

	"postbag/internal/mail"
)

// manifest is a manifest that was read, as small as it can be.
type manifest struct {
	recs     []rec
	byKey    map[uint64]int32
	byDigest map[mail.Digest][]int32 // made when it is first needed
}

// rec is one message of a manifest.
type rec struct {
	digest mail.Digest
	date   int64
	size   int64
	flags  mail.Flags
	box    string
	form   form
	open   bool
	used   bool
}

// coding is how the message is read.
func (r *rec) coding() coding {
	switch r.form {
	case formLF:
		return coding{lf: true, open: r.open, quote: quotedRD}
	case formRaw:
		return coding{open: r.open, quote: quotedRD}
	}
	return coding{}
}

// manifestKey stands for a place in an archive; offset is -1 for a member that is
// one message.
func manifestKey(name string, offset int64) uint64 {
	h := fnv.New64a()
	io.WriteString(h, name)
	io.WriteString(h, "\x00"+strconv.FormatInt(offset, 10))
	return h.Sum64()
}

// manifest reads a manifest. One that is no manifest of postbag counts as none.
func (a *Archive) manifest(r io.Reader, name string) (*manifest, error) {
	m := &manifest{byKey: map[uint64]int32{}}
	boxes := map[string]string{} // each name once
	whole, bad, err := readManifest(r, func(r *record) {
		name := r.mailbox()
		if name == "" {
			name = "INBOX"
		}
		if kept, ok := boxes[name]; ok {
			name = kept
		} else {
			boxes[name] = name
			a.mailbox(name, "")
		}
		digest, ok := r.digest()
		if !ok {
			a.mailbox(name, mail.ParseSpecialUse(r.Role))
			return
		}
		one := rec{digest: digest, date: noDate, size: -1, flags: r.flags(), box: name, form: r.Form, open: r.Open}
		if at := r.date(); !at.IsZero() {
			one.date = at.Unix()
		}
		if r.Size != nil {
			one.size = *r.Size
		}
		offset := int64(-1)
		if r.Offset != nil {
			offset = *r.Offset
		}
		m.byKey[manifestKey(r.Name, offset)] = int32(len(m.recs))
		m.recs = append(m.recs, one)
	})
	if errors.Is(err, errNoManifest) {
		a.o.Note("%s: %v", name, err)
		return nil, nil
	}
	switch {
	case err != nil:
		a.problem("", name, 0, messageError(mail.KindIntegrity, err, ""))
	case bad > 0:
		a.problem("", name, 0, integrity("%d lines of the manifest cannot be read", bad))
	case !whole:
		a.problem("", name, 0, integrity("the manifest is cut off"))
	}
	return m, nil
}

// find is the record of a place; nil when there is none.
func (m *manifest) find(key uint64) *rec {
	i, ok := m.byKey[key]
	if !ok || m.recs[i].used {
		return nil
	}
	return &m.recs[i]
}

// of is a record of a content that has no message yet; nil when there is none.
func (m *manifest) of(d mail.Digest) *rec {
	if m.byDigest == nil {
		m.byDigest = make(map[mail.Digest][]int32, len(m.recs))
		for i := range m.recs {
			m.byDigest[m.recs[i].digest] = append(m.byDigest[m.recs[i].digest], int32(i))
		}
	}
	for _, i := range m.byDigest[d] {
		if !m.recs[i].used {
			return &m.recs[i]
		}
	}
	return nil
}

// missing are problems for the messages of a manifest that were not found.
func (a *Archive) missing(m *manifest) {
	if m == nil {
		return
	}
	for i := range m.recs {
		r := &m.recs[i]
		if r.used {
			continue
		}
		p := Problem{Mailbox: r.box, Size: r.size, Name: "SHA-256 " + r.digest.String()[:16],
			Err: integrity("it is in the manifest and not in the archive")}
		p.Date = unixTime(r.date)
		a.problems = append(a.problems, p)
	}
}
