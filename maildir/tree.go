package maildir

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"postbag/internal/mail"
)

// maxDepth is how deep mailboxes may nest: further down lies a loop of mounts.
const maxDepth = 120

// openBoxDir opens the directory of a mailbox, which must exist as a directory;
// fs.ErrNotExist when it does not. close must be called in the end.
func (s *Store) openBoxDir(name string) (dir Dir, close func() error, err error) {
	parts := s.layout.pathParts(name)
	if len(parts) > maxDepth {
		return nil, nil, fs.ErrNotExist
	}
	dir, close = s.root, func() error { return nil }
	for i, part := range parts {
		entry, err := s.find(dir, part, i == 0 && len(parts) == 1)
		var sub Dir
		if err == nil {
			sub, err = dir.OpenDir(entry)
		}
		close()
		if err != nil {
			return nil, nil, err
		}
		dir, close = sub, sub.Close
	}
	return dir, close, nil
}

// find gives the directory entry that stands for one part of a name;
// fs.ErrNotExist when there is none. alone says that the part is the whole name.
func (s *Store) find(d Dir, part string, alone bool) (string, error) {
	want := s.layout.dirName(s.esc, part)
	st, err := d.Lstat(want)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err == nil && st.Mode.IsDir() && !s.fold {
		good := true
		if alone && part == inbox {
			if good, err = isDirIn(d, want, "cur"); err != nil {
				return "", err
			}
		}
		if good {
			return want, nil
		}
	}
	// Another tool may have written the name in another way, and a file system
	// that folds names may have found another mailbox.
	var found []string
	err = d.Names(func(name []byte, typ fs.FileMode) error {
		if typ.IsDir() || typ == fs.ModeIrregular {
			if n := string(name); s.standsFor(n, part, alone) {
				found = append(found, n)
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	slices.SortFunc(found, func(a, b string) int {
		return cmp.Or(cmp.Compare(btoi(a != want), btoi(b != want)), strings.Compare(a, b))
	})
	first, err := firstDir(d, found, alone && part == inbox)
	if err == nil && first == "" {
		err = &fs.PathError{Op: "open", Path: want, Err: fs.ErrNotExist}
	}
	return first, err
}

// firstDir is the first of names that is a directory; with usable the first that is
// a mailbox, if there is one.
func firstDir(d Dir, names []string, usable bool) (first string, err error) {
	for _, name := range names {
		is, err := isDir(d, name)
		if err != nil {
			return "", err
		}
		if !is {
			continue
		}
		if first == "" {
			first = name
		}
		if !usable {
			break
		}
		if is, err = isDirIn(d, name, "cur"); err != nil {
			return "", err
		} else if is {
			return name, nil
		}
	}
	return first, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// standsFor reports whether a directory name is one way to write part. INBOX is
// INBOX in any case (RFC 9051, 5.1).
func (s *Store) standsFor(dir, part string, alone bool) bool {
	got, ok := s.layout.partOf(dir)
	if !ok {
		return false
	}
	if isShortened(dir) {
		return shortenedFrom(dir, part)
	}
	return got == part || alone && part == inbox && strings.EqualFold(got, inbox)
}

// List lists the mailboxes from the directories and a few stats each: cur/ and
// new/ are never read. Messages and Bytes are -1. A directory that looks like a
// mailbox but cannot be used is listed with Err set, under its directory name
// when it has no other. A plain directory above mailboxes is listed as NoSelect.
func (s *Store) List(ctx context.Context) ([]mail.MailboxInfo, error) {
	w := walker{store: s, ctx: ctx}
	var err error
	if s.layout == Verbatim {
		_, err = w.nested(s.root, nil, nil)
	} else {
		err = w.flat()
	}
	if err != nil {
		return nil, fail("list", "", mail.ScopeAccount, mail.Ref{}, err)
	}
	return w.finish(), nil
}

// walker collects the mailboxes of a tree.
type walker struct {
	store *Store
	ctx   context.Context
	found []mail.MailboxInfo
}

// children reads the names of a directory's subdirectories.
func (w *walker) children(d Dir) ([]string, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	var names []string
	err := d.Names(func(name []byte, typ fs.FileMode) error {
		if typ.IsDir() || typ == fs.ModeIrregular {
			names = append(names, string(name))
		} else if typ == fs.ModeSymlink && name[0] != '.' {
			w.store.notice("symbolic link in the tree is not followed", "", string(name))
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// nested walks a directory whose subdirectories are mailboxes or hold some, and
// tells whether there was any. Under a name that is not known for sure, which problem
// says, no mailbox can be used.
func (w *walker) nested(d Dir, above []string, problem error) (bool, error) {
	names, err := w.children(d)
	if err != nil {
		return false, err
	}
	any := false
	for _, entry := range names {
		if entry[0] == '.' || isMaildirSub(entry) {
			if len(above) == 0 {
				w.hidden(d, entry)
			}
			continue
		}
		sub, err := d.OpenDir(entry)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotDir) {
				w.broken(append(slices.Clip(above), entry), err)
			}
			continue
		}
		part, partErr := w.part(sub, entry)
		partErr = cmp.Or(problem, partErr)
		path := append(slices.Clip(above), part)
		name := mail.JoinName(path...)
		if strings.EqualFold(name, inbox) {
			name = inbox
		}
		at := len(w.found)
		is := w.look(sub, name, partErr)
		below := false
		if len(path) <= maxDepth {
			below, err = w.nested(sub, path, partErr)
		}
		sub.Close()
		if err != nil {
			return false, err
		}
		if !is && below {
			w.found = slices.Insert(w.found, at, mail.MailboxInfo{
				Name: mail.JoinName(path...), NoSelect: true, Messages: -1, Bytes: -1, Err: partErr})
		}
		any = any || is || below
	}
	return any, nil
}

// hidden tells of a Maildir that the layout has no place for. What cannot be looked
// at is not worth a word either.
func (w *walker) hidden(d Dir, entry string) {
	if is, err := isDirIn(d, entry, "cur"); err == nil && is && entry != w.store.layout.stateDir() {
		w.store.notice("hidden Maildir in the tree is not looked at", "", entry)
	}
}

// flat walks the directories right under the root.
func (w *walker) flat() error {
	s := w.store
	if s.layout == MaildirPP {
		w.look(s.root, inbox, nil)
	}
	names, err := w.children(s.root)
	if err != nil {
		return err
	}
	for _, entry := range names {
		if isMaildirSub(entry) || (entry[0] == '.') != (s.layout == MaildirPP) {
			continue
		}
		sub, err := s.root.OpenDir(entry)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotDir) {
				w.broken([]string{entry}, err)
			}
			continue
		}
		part, partErr := w.part(sub, entry)
		if strings.EqualFold(part, inbox) {
			part = inbox
		}
		w.look(sub, part, partErr)
		sub.Close()
	}
	return nil
}

// part decodes a directory name. One that stands for no name is given back as
// it can be shown, with the reason.
func (w *walker) part(d Dir, entry string) (string, error) {
	s := w.store
	part, ok := s.layout.partOf(entry)
	if !ok {
		return s.esc.escape(entry), errors.New("the name of the directory is not UTF-8 or not well formed")
	}
	if !isShortened(entry) {
		if !utf8.ValidString(part) {
			return s.esc.escape(entry), errors.New("the name of the directory does not stand for UTF-8")
		}
		return part, nil
	}
	data, err := readSmall(d, s.layout.nameFile())
	if ignoreGone(err) != nil {
		return entry, fail("list", entry, mail.ScopeMailbox, mail.Ref{}, err)
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if err == nil && shortenedFrom(entry, unescape(line)) {
			return unescape(line), nil
		}
	}
	return entry, errors.New("the file with the mailbox's long name is missing or damaged")
}

// look adds the mailbox in d, if it is one.
func (w *walker) look(d Dir, name string, problem error) bool {
	s := w.store
	info := mail.MailboxInfo{Name: name, Messages: -1, Bytes: -1, Err: problem}
	whole, err := isDir(d, "cur")
	if err == nil && !whole {
		var is, unfinished bool
		if is, err = s.isBox(d); err == nil && !is {
			return false
		}
		if err == nil {
			_, unfinished, err = readIDFile(d, s.layout)
		}
		if unfinished {
			return false // a Create was cut off
		}
		info.Err = boxError("list", name, mail.KindGone, "put the directory cur back, or delete the mailbox",
			errors.New("the mailbox has lost its directory cur"))
	}
	if err != nil {
		info.Err = fail("list", name, mail.ScopeMailbox, mail.Ref{}, err)
	}
	if info.Err == nil {
		info.ObjectID, info.Err = readID(d, s.layout)
		info.Validity = validityOf(info.ObjectID)
		if fp, err := statBox(d); err == nil {
			info.Stamp = fp.String()
		}
	}
	w.found = append(w.found, info)
	return true
}

// isBox reports whether a directory is a mailbox, which may have lost its cur/, and
// not only one above mailboxes.
func (s *Store) isBox(d Dir) (bool, error) {
	for _, sub := range []string{"cur", "new", "tmp"} {
		if is, err := isDir(d, sub); is || err != nil {
			return is, err
		}
	}
	_, err := d.Lstat(s.layout.idFile())
	return err == nil, ignoreGone(err)
}

func (w *walker) broken(path []string, err error) {
	shown := make([]string, len(path))
	for i, p := range path {
		shown[i] = w.store.esc.escape(p)
	}
	w.found = append(w.found, mail.MailboxInfo{Name: mail.JoinName(shown...), Messages: -1, Bytes: -1,
		Err: fail("list", strings.Join(shown, "/"), mail.ScopeMailbox, mail.Ref{}, err)})
}

// finish sorts, and makes names and identities unique.
func (w *walker) finish() []mail.MailboxInfo {
	slices.SortStableFunc(w.found, func(a, b mail.MailboxInfo) int { return strings.Compare(a.Name, b.Name) })
	ids := map[string]int{}
	for i := range w.found {
		ids[w.found[i].ObjectID]++
		if i > 0 && w.found[i].Name == w.found[i-1].Name {
			w.found[i].Err = errors.New("two directories stand for this name: rename one of them")
		}
	}
	for i := range w.found {
		// A directory that was copied with its marker: neither proves anything.
		if ids[w.found[i].ObjectID] > 1 {
			w.found[i].ObjectID = ""
		}
	}
	return w.dedupe()
}

// dedupe marks the first of equal names, too, and lists it once: which of two
// directories would be opened must not depend on their order.
func (w *walker) dedupe() []mail.MailboxInfo {
	out := w.found[:0]
	for _, info := range w.found {
		if n := len(out); n > 0 && out[n-1].Name == info.Name {
			if out[n-1].NoSelect {
				out[n-1] = info
			}
			out[n-1].Err, out[n-1].NoSelect = info.Err, false
			continue
		}
		out = append(out, info)
	}
	return out
}

// making is the second line of the identity of a mailbox that is being made.
const making = "making"

// readID reads the identity of a mailbox; "" when it has none.
func readID(d Dir, l Layout) (string, error) {
	id, _, err := readIDFile(d, l)
	return id, err
}

// readIDFile is readID, and tells whether the mailbox was being made.
func readIDFile(d Dir, l Layout) (id string, unfinished bool, err error) {
	data, err := readSmall(d, l.idFile())
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	id, rest, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || rest != "" && rest != making {
		return "", false, errors.New("the file with the mailbox's identity is damaged")
	}
	return id, rest == making, nil
}

// validityOf is the epoch of a mailbox's keys. A mailbox that another tool made
// has no marker; its keys are valid as long as that stays so.
func validityOf(id string) string {
	if id == "" {
		return "1"
	}
	return id
}
