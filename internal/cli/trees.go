package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"postbag/internal/config"
	"postbag/internal/mail"
	"postbag/maildir"
)

// With its state inside, a Maildir tree that is gone looks like one that never
// was: a run would fill a new one at the mount point. So each tree that a run
// wrote to is on record outside of it, in one small file for each path under
// $XDG_STATE_HOME/postbag/trees. The record decides nothing but whether a tree
// has to be there; without one, a missing tree is made.

// treeRecord is what is on record of the trees at one path.
type treeRecord struct {
	Path    string `json:"path"`
	Account string `json:"account"`
	// Roots are the identities of the trees that were there, the newest last:
	// disks that take turns have one each.
	Roots []string `json:"roots"`
}

// Bounds of a record, so that none grows for ever.
const (
	maxRoots  = 32
	maxRecord = 64 << 10 // octets
)

// recordPath is where the tree at path is on record; "" when there is no home
// for records.
func (env *Env) recordPath(path string) string {
	dir := env.stateDir()
	if dir == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(dir, "trees", hex.EncodeToString(sum[:16])+".json")
}

// readRecord reads what is on record of the tree at path. A record that cannot
// be read counts as none: it protects from one mistake, and must not keep a
// backup from being made.
func (s *session) readRecord(path string) treeRecord {
	none := treeRecord{Path: path}
	file := s.env.recordPath(path)
	if file == "" {
		return none
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return none
	}
	var record treeRecord
	if err == nil {
		var text []byte
		text, err = io.ReadAll(io.LimitReader(f, maxRecord))
		if err = errors.Join(err, f.Close()); err == nil {
			err = json.Unmarshal(text, &record)
		}
	}
	if err != nil || record.Path != path {
		s.out.note("the record of the Maildir, %s, cannot be used: %v", file, err)
		return none
	}
	return record
}

// root is the tree that was there last; "" when none is on record.
func (r *treeRecord) root() string {
	if len(r.Roots) == 0 {
		return ""
	}
	return r.Roots[len(r.Roots)-1]
}

// record puts the tree on record, unless it is. Where that cannot be done the
// run goes on without.
func (s *session) record(old treeRecord, store *maildir.Store) {
	now := treeRecord{Path: old.Path, Account: store.Owner(), Roots: old.Roots}
	if !slices.Contains(now.Roots, store.RootID()) {
		now.Roots = append(slices.Clone(now.Roots), store.RootID())
		now.Roots = now.Roots[max(0, len(now.Roots)-maxRoots):]
	}
	file := s.env.recordPath(old.Path)
	if file == "" || now.Account == old.Account && len(now.Roots) == len(old.Roots) {
		return
	}
	if err := writeRecord(file, now); err != nil {
		s.out.note("the Maildir could not be put on record: %v", err)
	}
}

// writeRecord makes or replaces a record. A crash leaves the old or the new one.
func writeRecord(path string, r treeRecord) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "new-") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// openRecorded opens a tree for writing, or for a dry run. It has to be one of
// those on record, when there are any, and the one that the state knows when
// that lies elsewhere; with anew it may be any.
func (s *session) openRecorded(a *config.Account, o maildir.Options, record treeRecord, anew bool) (*maildir.Store, error) {
	known := ""
	if a.State != "" {
		// A state elsewhere knows which tree it belongs to before a directory is
		// taken for a new one.
		var err error
		if known, err = s.rootOf(a.State); err != nil {
			return nil, err
		}
	}
	if anew {
		if known != "" && rootAt(record.Path) != known {
			return nil, usageError("state "+a.State, "move it away, or name another one", "belongs to the Maildir that was at %s before", record.Path)
		}
	} else if o.RootID = known; known == "" {
		o.RootID = record.root()
	}
	if o.RootID == "" && rootAt(record.Path) == "" {
		if err := checkAlone(record.Path); err != nil {
			return nil, err
		}
	}
	store, err := maildir.Open(a.Maildir, o)
	if err == nil {
		return store, nil
	}
	if o.RootID == "" || mail.AsError(err).Kind != mail.KindGuard {
		return nil, at(a.Maildir, err)
	}
	switch there := rootAt(record.Path); {
	case there == "":
		return nil, goneError(record.Path, "mount it; or begin a new one with --create")
	case there == o.RootID: // something else is wrong with it
		return nil, at(a.Maildir, err)
	case known == "" && slices.Contains(record.Roots, there):
		o.RootID = there
		if store, err = maildir.Open(a.Maildir, o); err != nil {
			return nil, at(a.Maildir, err)
		}
		return store, nil
	}
	return nil, usageError("", "mount the one that was there; or go on with this one with --create",
		"the Maildir %s is another one than at the last run", record.Path)
}

// checkAlone refuses a new tree within another one, or around one: the mailboxes
// of the inner one would be taken for the outer one's.
func checkAlone(path string) error {
	const hint = "give each account a directory of its own, beside the others"
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if rootAt(dir) != "" {
			return usageError("", hint, "the Maildir %s would lie in another one, %s", path, dir)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil // whoever opens it will tell
	}
	for _, e := range entries {
		if inner := filepath.Join(path, e.Name()); e.IsDir() && rootAt(inner) != "" {
			return usageError("", hint, "the Maildir %s would lie around another one, %s", path, inner)
		}
	}
	return nil
}

// openToRead opens a tree for a command that changes nothing.
func (s *session) openToRead(path string, o maildir.Options) (*maildir.Store, error) {
	o.ReadOnly = true
	store, err := maildir.Open(path, o)
	if (err != nil || store.RootID() == "") && s.isGone(path) {
		if err == nil {
			store.Close()
		}
		return nil, goneError(path, "mount it")
	}
	if err != nil {
		return nil, at(path, err)
	}
	return store, nil
}

// isGone reports whether there was a tree at path and now is none.
func (s *session) isGone(path string) bool {
	record := s.readRecord(path)
	return record.root() != "" && rootAt(path) == ""
}

func goneError(path, hint string) error {
	return usageError("", hint, "the Maildir %s is gone: it was there at the last run", path)
}

// rootAt is the identity of the tree at path; "" when there is no directory, or
// one without a marker.
func rootAt(path string) string {
	store, err := maildir.Open(path, maildir.Options{ReadOnly: true})
	if err != nil {
		return ""
	}
	defer store.Close()
	return store.RootID()
}
