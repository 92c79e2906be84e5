package maildir

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"postbag/internal/mail"
)

// The marker is a small file in the state directory. It proves that the root is
// the tree that it was: an empty mount point or a wrong folder has none, and
// must never be read as "everything was deleted".
const (
	markerFile   = "root"
	markerFormat = 1
	// probeFile tells, by being found or not under another spelling, whether the
	// file system takes names for equal that differ in case or normalisation.
	probeFile = "probe-\u00e9"
	// noIndexFile keeps mu from indexing what was deleted.
	noIndexFile = ".noindex"
)

// marker is the content of the marker file.
type marker struct {
	Format   int    `json:"format"`
	ID       string `json:"id"` // 32 hexadecimal digits
	Layout   Layout `json:"layout"`
	Account  string `json:"account,omitempty"`
	Portable bool   `json:"portable,omitempty"` // names are escaped for Windows, too
}

// settle finds the marker, checks it, and makes it where that is allowed.
func (s *Store) settle() error {
	found, layout, err := s.readMarker()
	if err != nil {
		return err
	}
	o := &s.opts
	if !found {
		if layout, err = s.guessLayout(); err != nil {
			return err
		}
	}
	if o.Layout != "" && o.Layout != layout {
		return openError(mail.KindUsage, fmt.Errorf("the tree has the layout %s, not %s", layout, o.Layout),
			fmt.Sprintf("set layout = %q", layout))
	}
	s.layout = layout
	switch {
	case found:
		if err := s.checkMarker(); err != nil {
			return err
		}
	case o.RootID != "":
		return openError(mail.KindGuard, errors.New("the tree's marker is gone: gone or not mounted"),
			"mount the disk; if the tree was emptied on purpose, remove the state as well")
	case o.ReadOnly:
	case !o.Create && !o.Adopt:
		return openError(mail.KindUsage, errors.New("this is no tree of postbag: it has no marker"),
			"check that the disk is mounted; to take over a Maildir tree of another tool, adopt it")
	default:
		if err := s.makeMarker(); err != nil {
			return fail("open", "", mail.ScopeAccount, mail.Ref{}, err)
		}
	}
	s.esc = escaper{portable: s.mark.Portable || pathSeparator == '\\'}
	s.infoSep = ':'
	if s.esc.portable {
		s.infoSep = ';'
	}
	if s.fold, err = s.folds(); err != nil {
		return fail("open", "", mail.ScopeAccount, mail.Ref{}, err)
	}
	return nil
}

// readMarker looks in the state directory of every layout.
func (s *Store) readMarker() (found bool, layout Layout, err error) {
	for _, l := range []Layout{Verbatim, MaildirPP} {
		dir, err := s.root.OpenDir(l.stateDir())
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
			continue
		}
		if err != nil {
			return false, "", fail("open", "", mail.ScopeAccount, mail.Ref{}, err)
		}
		data, err := readSmall(dir, markerFile)
		dir.Close()
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) {
			continue
		}
		if err != nil {
			return false, "", fail("open", "", mail.ScopeAccount, mail.Ref{}, err)
		}
		if err := json.Unmarshal(data, &s.mark); err != nil || s.mark.ID == "" {
			return false, "", openError(mail.KindIntegrity, errors.New("the tree's marker is damaged"),
				"put it back from a backup of the tree, or remove it and adopt the tree anew")
		}
		if s.mark.Format > markerFormat {
			return false, "", openError(mail.KindUsage, errors.New("the tree was made by a newer postbag"), "use that one")
		}
		return true, s.mark.Layout, nil
	}
	return false, "", nil
}

func (s *Store) checkMarker() error {
	o := &s.opts
	switch s.mark.Layout {
	case Verbatim, MaildirPP, Flat:
	default:
		return openError(mail.KindUsage, fmt.Errorf("the tree has the unknown layout %q", s.mark.Layout), "")
	}
	if o.RootID != "" && o.RootID != s.mark.ID {
		return openError(mail.KindGuard, errors.New("this is another tree than the one that the state knows"),
			"check the path; for a new tree use a new state")
	}
	if o.Owner == "" || s.mark.Account == o.Owner {
		return nil
	}
	if s.mark.Account != "" {
		return openError(mail.KindGuard, fmt.Errorf("the tree belongs to the account %q, not %q", s.mark.Account, o.Owner),
			"give each account its own directory")
	}
	if o.ReadOnly {
		return nil
	}
	s.mark.Account = o.Owner
	return fail("open", "", mail.ScopeAccount, mail.Ref{}, s.writeMarker())
}

// guessLayout tells from what is there how a tree without a marker is laid out.
func (s *Store) guessLayout() (Layout, error) {
	st, err := s.root.Lstat("cur")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fail("open", "", mail.ScopeAccount, mail.Ref{}, err)
	}
	isMaildir := err == nil && st.Mode.IsDir()
	want := s.opts.Layout
	switch {
	case isMaildir && (want == Verbatim || want == Flat):
		return "", openError(mail.KindUsage, errors.New("the directory is a Maildir itself"),
			`its layout is "maildir++"; or choose an empty directory`)
	case want != "":
		return want, nil
	case isMaildir:
		return MaildirPP, nil
	}
	return Verbatim, nil
}

// isDir reports whether there is a directory of that name. What cannot be looked at
// is an error: it must not read as if nothing was there.
func isDir(d Dir, name string) (bool, error) {
	st, err := d.Lstat(name)
	return err == nil && st.Mode.IsDir(), ignoreGone(err)
}

// isDirIn is isDir for a directory in a directory.
func isDirIn(d Dir, name, sub string) (bool, error) {
	inner, err := d.OpenDir(name)
	if err != nil {
		return false, ignoreGone(err)
	}
	defer inner.Close()
	return isDir(inner, sub)
}

// makeMarker sets the state directory up. The marker comes last: what fails
// before leaves nothing decided, and the next run looks again.
func (s *Store) makeMarker() error {
	var id [16]byte
	if _, err := io.ReadFull(s.opts.Rand, id[:]); err != nil {
		return err
	}
	s.mark = marker{Format: markerFormat, ID: hex.EncodeToString(id[:]), Layout: s.layout, Account: s.opts.Owner}
	dir, err := makeDir(s.root, s.layout.stateDir())
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, name := range []string{probeFile, noIndexFile} {
		if err := writeSmall(dir, name, nil); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if s.mark.Portable, err = refusesOdd(dir); err != nil {
		return err
	}
	return s.writeMarker()
}

// refusesOdd reports whether the file system refuses the characters that Windows
// does, the one between key and flags among them. The answer is for good, so that
// only an error that can mean the name counts (see errsOdd), and only where a plain
// name is taken at the same time: anything else tells nothing, and is returned.
func refusesOdd(dir Dir) (bool, error) {
	const odd, plain = "probe:*?", "probe-plain"
	if pathSeparator == '\\' {
		return true, nil
	}
	err := tryName(dir, odd)
	if err == nil || !isAny(err, errsOdd) {
		return false, err
	}
	return true, tryName(dir, plain)
}

// tryName makes an empty file and removes it, also one that a run left that was
// stopped in between.
func tryName(d Dir, name string) error {
	if err := writeSmall(d, name, nil); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.Remove(name)
}

func (s *Store) writeMarker() error {
	data, err := json.MarshalIndent(s.mark, "", "\t")
	if err != nil {
		return err
	}
	dir, err := s.root.OpenDir(s.layout.stateDir())
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := replaceSmall(dir, markerFile, append(data, '\n')); err != nil {
		return err
	}
	return s.root.Sync()
}

// folds looks for the probe file under another case and normalisation. A tree
// without a state directory is open for reading only, and has none.
func (s *Store) folds() (bool, error) {
	dir, err := s.root.OpenDir(s.layout.stateDir())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	for _, name := range []string{strings.Replace(probeFile, "probe", "PROBE", 1), "probe-e\u0301"} {
		_, err := dir.Lstat(name)
		if err == nil {
			return true, nil
		}
		if !isAny(err, errsOdd) {
			return false, err
		}
	}
	return false, nil
}

// maxSmall is the largest control file that is read.
const maxSmall = 256 << 10

// readSmall reads a control file.
func readSmall(d Dir, name string) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(data) > maxSmall {
		err = &fs.PathError{Op: "read", Path: name, Err: errors.New("larger than any file of this kind")}
	}
	return data, err
}

// writeSmall makes a new control file with durable content; its name is durable
// after d.Sync.
func writeSmall(d Dir, name string, data []byte) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && len(data) > 0 {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		d.Remove(name)
	}
	return err
}

// replaceSmall makes or replaces a control file, durably: after a crash it is
// the old one or the new one.
func replaceSmall(d Dir, name string, data []byte) error {
	tmp := name + ".tmp"
	if err := d.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeSmall(d, tmp, data); err != nil {
		return err
	}
	if err := d.Replace(tmp, name); err != nil {
		d.Remove(tmp)
		return err
	}
	return d.Sync()
}

// makeDir opens a subdirectory and makes it, durably, when it is missing.
func makeDir(d Dir, name string) (Dir, error) {
	sub, err := d.OpenDir(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return sub, err
	}
	if err := d.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := d.Sync(); err != nil {
		return nil, err
	}
	return d.OpenDir(name)
}
