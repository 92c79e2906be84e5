package export

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"

	"postbag/internal/mail"
)

// output is where an archive of one file is written.
type output struct {
	staged *staged  // nil for a stream
	device *os.File // a device or a pipe that somebody named: written as a stream
	w      *bufio.Writer
	end    bool
}

func newOutput(o *Options) (*output, error) {
	if o.Stdout != nil {
		return &output{w: bufio.NewWriterSize(o.Stdout, 1<<18)}, nil
	}
	if info, err := os.Stat(o.Out); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		f, err := os.OpenFile(o.Out, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &output{device: f, w: bufio.NewWriterSize(f, 1<<18)}, nil
	}
	s, err := stageFile(o.Out)
	if err != nil {
		return nil, err
	}
	return &output{staged: s, w: bufio.NewWriterSize(s.file, 1<<18)}, nil
}

// finish commits what was written.
func (o *output) finish() error {
	err := o.w.Flush()
	if err != nil {
		return err
	}
	o.end = true
	switch {
	case o.staged != nil:
		return o.staged.commit()
	case o.device != nil:
		return o.device.Close()
	}
	return nil
}

func (o *output) abort() {
	if o.end {
		return
	}
	o.end = true
	if o.staged != nil {
		o.staged.abort()
	}
	if o.device != nil {
		o.device.Close()
	}
}

// newWriter begins an archive.
func newWriter(o *Options) (writer, error) {
	if o.Temp == "" && o.Stdout == nil {
		o.Temp = filepath.Dir(o.Out)
		if info, err := os.Stat(o.Out); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			o.Temp = ""
		}
	}
	if o.Format == EML || o.Folder {
		dir, err := stageDir(o.Out)
		if err != nil {
			return nil, err
		}
		if o.Format == EML {
			return &tree{dir: dir, paths: newPaths()}, nil
		}
		return &mboxFolder{dir: dir, paths: newPaths()}, nil
	}
	out, err := newOutput(o)
	if err != nil {
		return nil, err
	}
	switch o.Format {
	case Mbox:
		return newMboxFile(o, out)
	case Zip:
		z, err := newZip(o, out)
		if err != nil {
			out.abort()
			return nil, err
		}
		return z, nil
	}
	w, err := newTar(o.Format, out)
	if err != nil {
		out.abort()
	}
	return w, err
}

// tree writes a folder of files.
type tree struct {
	dir   *staged
	paths *paths
	path  string // of the mailbox
}

func (t *tree) box(info mail.MailboxInfo) error {
	t.path = t.paths.of(info.Name, "")
	return os.MkdirAll(filepath.Join(t.dir.part, filepath.FromSlash(t.path)), 0o700)
}

func (t *tree) prepare(_ *item, enc []byte) ([]byte, error) { return enc, nil }

func (t *tree) add(it *item) (record, error) {
	name := t.path + "/" + it.base
	path := filepath.Join(t.dir.part, filepath.FromSlash(name))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return record{}, err
	}
	if it.body.file == nil {
		_, err = f.Write(it.body.mem)
	} else {
		_, err = io.Copy(f, it.body.reader())
	}
	if err = errors.Join(err, f.Close()); err == nil && !it.msg.Date.IsZero() {
		err = os.Chtimes(path, it.msg.Date, it.msg.Date)
	}
	return record{Name: name}, err
}

func (t *tree) finish(m *manifestWriter) error {
	if err := putManifest(m, filepath.Join(t.dir.part, ManifestName)); err != nil {
		return err
	}
	return t.dir.commit()
}

func (t *tree) abort() { t.dir.abort() }

// putManifest writes a manifest into a new file.
func putManifest(m *manifestWriter, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(copyManifest(m, f), f.Close())
}

func copyManifest(m *manifestWriter, to io.Writer) error {
	size, from, err := m.end()
	if err != nil {
		return err
	}
	n, err := io.Copy(to, from)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
