package export

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"postbag/internal/mail"
)

// readZip reads the members of a zip.
func (a *Archive) readZip(f file, _ int) error {
	z, err := zip.NewReader(f.ra, f.size)
	if err != nil {
		return integrity("zip: %w", err)
	}
	man, err := a.zipManifest(z, f)
	if err != nil {
		return err
	}
	mails, left := 0, bombLimit(f.size)
	for _, one := range z.File {
		m, ok, err := parseMember(one.Name)
		if err != nil {
			a.outside(f.name+": "+one.Name, err)
			continue
		}
		if !ok || strings.HasSuffix(one.Name, "/") {
			continue
		}
		mails++
		// Members may share their octets, so that many of them come of few.
		if size := int64(min(one.UncompressedSize64, 1<<62)); !isBomb(one) {
			if left -= size; left < 0 {
				a.problem("", f.name, f.size, messageError(mail.KindRefused, errBomb, "what comes before that is read"))
				break
			}
		}
		if err := a.zipMember(f, one, m, man); err != nil {
			return err
		}
	}
	a.missing(man)
	if mails == 0 && man == nil {
		return integrity("there is no mail in it")
	}
	return nil
}

func (a *Archive) zipManifest(z *zip.Reader, f file) (*manifest, error) {
	for _, one := range z.File {
		if one.Name != ManifestName {
			continue
		}
		r, err := one.Open()
		if err != nil {
			a.problem("", f.name+": "+one.Name, 0, integrity("%w", err))
			return nil, nil
		}
		man, err := a.manifest(io.LimitReader(r, bombLimit(int64(min(one.CompressedSize64, 1<<50)))), f.name+": "+one.Name)
		return man, errors.Join(err, r.Close())
	}
	return nil, nil
}

// zipMember reads one member.
func (a *Archive) zipMember(f file, one *zip.File, m member, man *manifest) error {
	name := f.name + ": " + one.Name
	switch {
	case one.Flags&1 != 0:
		a.problem(m.box, name, 0, messageError(mail.KindRefused, errors.New("it is encrypted"), "unpack it first"))
		return nil
	case !one.Mode().IsRegular():
		a.problem(m.box, name, 0, integrity("it is no file"))
		return nil
	case isBomb(one):
		a.problem(m.box, name, int64(one.UncompressedSize64), messageError(mail.KindRefused, fmt.Errorf("it would become more than %d times as large", bombRatio), ""))
		return nil
	case one.UncompressedSize64 > maxMessage && m.kind == EML:
		a.problem(m.box, name, 0, messageError(mail.KindRefused, fmt.Errorf("it is larger than %d octets", int64(maxMessage)), ""))
		return nil
	}
	at := place{zip: one, n: int64(one.UncompressedSize64)}
	if off, err := one.DataOffset(); err == nil && one.Method == zip.Store && one.CompressedSize64 == one.UncompressedSize64 {
		at = place{ra: f.ra, off: off, n: at.n}
	}
	if m.kind == EML {
		return a.add(found{name: name, at: at, auto: true, box: m.box, flags: m.flags, date: one.Modified, man: man, key: manifestKey(m.path, -1)})
	}
	return a.zipMbox(f, one, m, at, man)
}

// zipMbox reads a member that may be an mbox.
func (a *Archive) zipMbox(f file, one *zip.File, m member, at place, man *manifest) error {
	name := f.name + ": " + one.Name
	inner := file{ra: io.NewSectionReader(f.ra, at.off, at.n), size: at.n, name: name, member: m.path, box: m.box, date: one.Modified, man: man}
	if at.zip != nil {
		begins, err := zipBegins(one)
		if err != nil {
			a.problem(m.box, name, 0, integrity("%w", err))
			return nil
		}
		if !begins {
			inner.ra = strings.NewReader("")
		} else if inner.ra, err = a.zipUnpack(one); err != nil {
			if mail.AsError(err).Scope != mail.ScopeMessage {
				return err
			}
			a.problem(m.box, name, 0, mail.AsError(err))
			return nil
		}
	}
	_, err := a.readInner(m, inner)
	return err
}

// zipBegins reports whether a member begins like an mbox.
func zipBegins(one *zip.File) (bool, error) {
	r, err := one.Open()
	if err != nil {
		return false, err
	}
	defer r.Close()
	head := make([]byte, len(fromLine))
	_, err = io.ReadFull(r, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return string(head) == fromLine, err
}

func (a *Archive) zipUnpack(one *zip.File) (io.ReaderAt, error) {
	r, err := one.Open()
	if err != nil {
		return nil, integrity("%w", err)
	}
	defer r.Close()
	temp, _, err := a.spool(r, func() int64 { return int64(min(one.UncompressedSize64, 1<<62)) })
	if err != nil {
		return nil, err
	}
	return temp, nil
}

// readTar reads the members of a tar: once for the manifest, which lies at its end,
// and once for the messages.
func (a *Archive) readTar(f file, _ int) error {
	var man *manifest
	err := eachTar(f, func(h *tar.Header, off int64) error {
		if strings.TrimPrefix(h.Name, "./") != ManifestName || man != nil {
			return a.ctx.Err()
		}
		var err error
		man, err = a.manifest(io.NewSectionReader(f.ra, off, h.Size), f.name+": "+h.Name)
		return err
	})
	if err != nil && a.ctx.Err() != nil {
		return err
	}
	mails := 0
	err = eachTar(f, func(h *tar.Header, off int64) error {
		m, ok, err := parseMember(h.Name)
		if err != nil {
			a.outside(f.name+": "+h.Name, err)
			return nil
		}
		if !ok || h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader {
			return nil
		}
		mails++
		return a.tarMember(f, h, off, m, man)
	})
	var cut tarError
	if errors.As(err, &cut) {
		a.problem("", f.name, 0, integrity("the tar is damaged or cut off: %w", cut.err))
		err = nil
	}
	if err != nil {
		return err
	}
	a.missing(man)
	if mails == 0 && man == nil && !errors.As(err, &cut) {
		return integrity("there is no mail in it")
	}
	return nil
}

// tarError is what is wrong with a tar as a whole.
type tarError struct{ err error }

func (e tarError) Error() string { return e.err.Error() }

// eachTar calls fn for each member, with where its content begins.
func eachTar(f file, fn func(h *tar.Header, off int64) error) error {
	from := io.NewSectionReader(f.ra, 0, f.size)
	t := tar.NewReader(from)
	last := int64(0) // where the last member ends
	for {
		h, err := t.Next()
		if err == io.EOF {
			return tarEnd(from, last)
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return tarError{err}
		}
		off, err := from.Seek(0, io.SeekCurrent)
		if err != nil {
			return tarError{err}
		}
		if err := fn(h, off); err != nil {
			return err
		}
		last = off
		if !isSparse(h) {
			last += h.Size
		}
	}
}

// tarEnd reports whether a tar ends as one has to, with blocks of zeros behind its last
// member. One that does not may be cut off between two members, which nothing else
// tells.
func tarEnd(from *io.SectionReader, last int64) error {
	const block = 512
	pos, err := from.Seek(0, io.SeekCurrent)
	var end [block]byte
	if err == nil && pos-block >= last {
		if _, err = from.ReadAt(end[:], pos-block); err == nil && end == [block]byte{} {
			return nil
		}
	}
	return tarError{cmp.Or(err, errors.New("it has no end"))}
}

// tarMember reads one member.
func (a *Archive) tarMember(f file, h *tar.Header, off int64, m member, man *manifest) error {
	name := f.name + ": " + h.Name
	switch {
	case h.Typeflag != tar.TypeReg || isSparse(h):
		a.problem(m.box, name, 0, integrity("it is no plain file"))
		return nil
	case h.Size > f.size-off:
		a.problem(m.box, name, h.Size, integrity("it is cut off"))
		return nil
	case m.kind == EML:
		return a.add(found{name: name, at: place{ra: f.ra, off: off, n: h.Size}, auto: true, box: m.box, flags: m.flags, date: h.ModTime, man: man, key: manifestKey(m.path, -1)})
	}
	inner := file{ra: io.NewSectionReader(f.ra, off, h.Size), size: h.Size, name: name, member: m.path, box: m.box, date: h.ModTime, man: man}
	_, err := a.readInner(m, inner)
	return err
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}
