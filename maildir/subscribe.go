package maildir

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"postbag/internal/mail"
)

// The file of subscriptions is Dovecot's, at the root of the tree: a line "V\t2",
// an empty one, then one mailbox a line, its levels divided by tabs; before version
// 2 nothing but the names, with the separator of the directories. A level is
// written as in the name of the mailbox's directory. Dovecot takes
// subscriptions.lock, in which it writes the new file, and renames it.
const (
	subscriptionFile = "subscriptions"
	subscriptionLock = "subscriptions.lock"
	subscriptionTemp = "subscriptions.postbag"
	subscriptionHead = "V\t2\n\n"

	staleSubscriptionLock = 30 * time.Second // Dovecot's own bound
)

var _ mail.Subscriber = (*Store)(nil)

// Subscribed reads the file of subscriptions. Without one, or with one that is
// empty, which Dovecot never leaves, the answer is nil.
func (s *Store) Subscribed(_ context.Context, names []string) (map[string]bool, error) {
	data, err := s.readSubscriptions()
	if err != nil {
		return nil, fail("read subscriptions", "", mail.ScopeMailbox, mail.Ref{}, err)
	}
	if len(data) == 0 {
		return nil, nil
	}
	list, err := s.parseSubscriptions(data)
	if err != nil {
		return nil, fail("read subscriptions", "", mail.ScopeMailbox, mail.Ref{}, err)
	}
	lines := make(map[string]bool, len(list.lines))
	for _, line := range list.lines {
		lines[list.canonical(line)] = true
	}
	answer := make(map[string]bool)
	for _, name := range names {
		entry, err := s.subscriptionEntry(name)
		if err != nil {
			return nil, fail("read subscriptions", name, mail.ScopeMailbox, mail.Ref{}, err)
		}
		if lines[entry] {
			answer[name] = true
		}
	}
	return answer, nil
}

// Subscribe rewrites the file of subscriptions, as a whole and durably, if it
// changes at all. Lines of other mailboxes stay as they are, in their order.
func (s *Store) Subscribe(ctx context.Context, changes map[string]bool) (map[string]*mail.Error, error) {
	const op = "subscribe"
	if err := s.writable(op, ""); err != nil {
		return nil, err
	}
	for waited := time.Duration(0); ; waited += 50 * time.Millisecond {
		done, err := s.trySubscribe(changes)
		if err != nil {
			// Whatever it is, it is not about mail: unless it concerns the whole tree
			// it is told for each mailbox.
			if e := mail.AsError(fail(op, "", mail.ScopeMailbox, mail.Ref{}, err)); e.Scope == mail.ScopeAccount {
				return nil, e
			}
			return refuseAll(changes, err), nil
		}
		if done {
			return nil, nil
		}
		if waited >= lockWait {
			return refuseAll(changes, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindLocked, Temporary: true, Op: op,
				Err: errors.New("another program holds " + subscriptionLock), Hint: "run again when it is done"}), nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, fail(op, "", mail.ScopeAccount, mail.Ref{}, err)
		}
	}
}

func refuseAll(changes map[string]bool, err error) map[string]*mail.Error {
	refused := make(map[string]*mail.Error, len(changes))
	for name := range changes {
		refused[name] = mail.AsError(fail("subscribe", name, mail.ScopeMailbox, mail.Ref{}, err))
	}
	return refused
}

// trySubscribe changes the file, unless another program has the lock or changed it
// in between: then done is false. The new file is complete before it becomes the
// lock, so that a crash hardly ever leaves a lock behind.
func (s *Store) trySubscribe(changes map[string]bool) (done bool, err error) {
	before, err := s.readSubscriptions()
	if err != nil {
		return false, err
	}
	after, err := s.changedSubscriptions(before, changes)
	if err != nil || bytes.Equal(before, after) {
		return err == nil, err
	}
	if err := ignoreGone(s.root.Remove(subscriptionTemp)); err != nil {
		return false, err
	}
	if err := writeSmall(s.root, subscriptionTemp, after); err != nil {
		return false, err
	}
	if err := s.root.Rename(subscriptionTemp, s.root, subscriptionLock); err != nil {
		s.root.Remove(subscriptionTemp)
		if errors.Is(err, fs.ErrExist) {
			return false, s.breakSubscriptionLock()
		}
		return false, err
	}
	now, err := s.readSubscriptions()
	if err == nil && bytes.Equal(now, before) {
		if err = s.root.Replace(subscriptionLock, subscriptionFile); err == nil {
			return true, s.root.Sync()
		}
	}
	return false, errors.Join(err, s.root.Remove(subscriptionLock))
}

// breakSubscriptionLock removes a lock that is too old to be anybody's.
func (s *Store) breakSubscriptionLock() error {
	st, err := s.root.Lstat(subscriptionLock)
	if err != nil {
		return ignoreGone(err)
	}
	if s.opts.Now().Sub(st.Mtime) > staleSubscriptionLock {
		return ignoreGone(s.root.Remove(subscriptionLock))
	}
	return nil
}

// readSubscriptions is the file's content; empty when there is none.
func (s *Store) readSubscriptions() ([]byte, error) {
	data, err := readSmall(s.root, subscriptionFile)
	return data, ignoreGone(err)
}

// changedSubscriptions is a file's content after changes: as it was when there is
// nothing to change.
func (s *Store) changedSubscriptions(data []byte, changes map[string]bool) ([]byte, error) {
	list, err := s.parseSubscriptions(data)
	if err != nil {
		return nil, err
	}
	changed := false
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		entry, err := s.subscriptionEntry(name)
		if err != nil {
			return nil, err
		}
		is := func(line string) bool { return list.canonical(line) == entry }
		if slices.ContainsFunc(list.lines, is) == changes[name] {
			continue
		}
		if changed = true; changes[name] {
			list.lines = append(list.lines, list.line(entry))
		} else {
			list.lines = slices.DeleteFunc(list.lines, is)
		}
	}
	if !changed {
		return data, nil
	}
	return list.format(), nil
}

// subscriptionList is a file of subscriptions.
type subscriptionList struct {
	head  string
	sep   string // before version 2: what divides levels
	lines []string
}

func (s *Store) parseSubscriptions(data []byte) (*subscriptionList, error) {
	l := &subscriptionList{head: subscriptionHead}
	text := string(data)
	if version, ok := strings.CutPrefix(text, "V\t"); ok {
		head, _, found := strings.Cut(text, "\n\n")
		if !found || !strings.HasPrefix(version, "2\n") {
			return nil, errors.New("the file " + subscriptionFile + " is of a version that is not known")
		}
		l.head = head + "\n\n"
		text = text[len(l.head):]
	} else if text != "" {
		if l.head, l.sep = "", "/"; s.layout == MaildirPP {
			l.sep = "."
		}
	}
	if text != "" {
		l.lines = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	}
	return l, nil
}

// canonical is what version 2 writes for a line.
func (l *subscriptionList) canonical(line string) string {
	if strings.EqualFold(line, inbox) {
		return inbox
	}
	if l.head != "" {
		return line
	}
	levels := strings.Split(line, l.sep)
	for i := range levels {
		levels[i] = escapeTabs(levels[i])
	}
	return strings.Join(levels, "\t")
}

// line is the inverse of canonical.
func (l *subscriptionList) line(entry string) string {
	if l.head != "" {
		return entry
	}
	levels := strings.Split(entry, "\t")
	for i := range levels {
		levels[i] = unescapeTabs(levels[i])
	}
	return strings.Join(levels, l.sep)
}

func (l *subscriptionList) format() []byte {
	if len(l.lines) == 0 { // not an empty file, which would be none
		return []byte(subscriptionHead)
	}
	return []byte(l.head + strings.Join(l.lines, "\n") + "\n")
}

// subscriptionEntry is the line of a mailbox: the levels of its directory as it is
// spelt, or would be.
func (s *Store) subscriptionEntry(name string) (string, error) {
	if name == inbox {
		return inbox, nil
	}
	var levels []string
	for _, part := range s.layout.pathParts(name) {
		levels = append(levels, s.layout.dirName(s.esc, part))
	}
	if s.layout == MaildirPP {
		found, err := s.find(s.root, name, true)
		if err == nil {
			levels[0] = found
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		levels = strings.Split(strings.TrimPrefix(levels[0], "."), ".")
	}
	for i := range levels {
		levels[i] = escapeTabs(levels[i])
	}
	return strings.Join(levels, "\t"), nil
}

var escaping = strings.NewReplacer("\x01", "\x011", "\t", "\x01t", "\n", "\x01n", "\r", "\x01r")

// escapeTabs writes a level as Dovecot does (str_tabescape).
func escapeTabs(s string) string { return escaping.Replace(s) }

var unescaping = strings.NewReplacer("\x011", "\x01", "\x01t", "\t", "\x01n", "\n", "\x01r", "\r")

func unescapeTabs(s string) string { return unescaping.Replace(s) }
