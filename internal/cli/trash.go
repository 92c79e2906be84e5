package cli

import (
	"bufio"
	"io"
	"maps"
	"mime"
	"slices"
	"strings"
	"time"

	"postbag/internal/config"
	"postbag/internal/mail"
	"postbag/maildir"
)

func (s *session) trashRestore(o *options, a *config.Account, ids []string, open *closers) error {
	const name = "trash restore"
	filtered := o.mailboxes != nil || !o.removedSince.IsZero()
	switch {
	case len(ids) > 0 && (filtered || o.all):
		return usageError(name, "", "takes IDs, or flags that choose, not both")
	case len(ids) == 0 && !filtered && !o.all:
		return usageError(name, "postbag trash list shows the IDs; or choose with --mailbox, --removed-since or --all", "what shall be put back is not said")
	case filtered && o.all:
		return usageError("--all", "", "does not go with --mailbox and --removed-since")
	}
	t, err := s.openTrash(a, name, !o.dryRun, open)
	if err != nil {
		return err
	}
	list, err := s.inTrash(o, t)
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		if list, err = withIDs(list, ids); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		if !s.out.quiet {
			s.out.result("nothing to put back")
		}
		return nil
	}
	done := list
	if !o.dryRun {
		done, err = s.putBack(t, list)
	}
	s.restored(o, list, done)
	if err != nil {
		return at(a.Maildir, err)
	}
	if len(done) < len(list) && slices.ContainsFunc(missing(list, done), func(t maildir.Trashed) bool { return !needless(t) }) {
		return exitError(exitPartial)
	}
	return nil
}

// missing are those of list that are not in done.
func missing(list, done []maildir.Trashed) []maildir.Trashed {
	there := map[string]bool{}
	for _, one := range done {
		there[one.ID] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(t maildir.Trashed) bool { return there[t.ID] })
}

// needless reports whether nothing is lost without a thing: a mailbox that is
// empty, and is there already.
func needless(t maildir.Trashed) bool { return t.Whole && t.Messages == 0 }

// withIDs are those of list that the IDs name: each short, whole, or the first part
// of several.
func withIDs(list []maildir.Trashed, ids []string) ([]maildir.Trashed, error) {
	chosen := map[string]bool{}
	for _, id := range ids {
		want := strings.TrimSuffix(id, "/")
		found := false
		for _, one := range list {
			if one.ID == want || strings.HasPrefix(one.ID, want+"/") || shortID(one) == want {
				chosen[one.ID], found = true, true
			}
		}
		if !found {
			return nil, usageError("trash", "postbag trash list shows the IDs", "holds nothing with the ID %s", id)
		}
	}
	return slices.DeleteFunc(list, func(t maildir.Trashed) bool { return !chosen[t.ID] }), nil
}

// putBack puts things back and answers with those that are there now.
func (s *session) putBack(t *tree, list []maildir.Trashed) ([]maildir.Trashed, error) {
	var ids []string
	for _, one := range list {
		ids = append(ids, one.ID)
	}
	back, err := t.store.PutBack(s.ctx, ids)
	there := map[string]bool{}
	for _, id := range back {
		there[id] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(t maildir.Trashed) bool { return !there[t.ID] }), err
}

// restored tells what was put back, or would be, and what was not.
func (s *session) restored(o *options, list, done []maildir.Trashed) {
	for _, one := range done {
		s.out.event(trashedOf("restored", one, ""))
	}
	boxes := mailboxesOf(done)
	s.out.summary.Mailboxes.Total, s.out.summary.Mailboxes.Changed = len(mailboxesOf(list)), len(boxes)
	if !s.out.quiet {
		for _, box := range slices.Sorted(maps.Keys(boxes)) {
			s.out.result("%s: %d put back", box, boxes[box])
		}
		if o.dryRun {
			s.out.result("dry run, nothing was changed: %s", trashSum(done))
		} else {
			s.out.result("put back: %s; to the next sync that is new mail", trashSum(done))
		}
	}
	if s.ctx.Err() != nil {
		return
	}
	for _, one := range missing(list, done) {
		switch {
		case needless(one):
		case one.Whole:
			s.out.warn("%s: a mailbox of this name is there", one.Mailbox)
			s.out.hint("rename it, and put the other one back then")
		default:
			s.out.warn("%s: %s was not put back", one.Mailbox, one.ID)
		}
	}
}

func (s *session) trashEmpty(o *options, a *config.Account, _ []string, open *closers) error {
	if o.olderThan.Forever {
		return usageError("--older-than", "", "nothing is older than for ever")
	}
	var before time.Time
	if o.olderThan.Set {
		before = s.env.Now().Add(-o.olderThan.Duration())
	}
	t, err := s.openTrash(a, "trash empty", !o.dryRun, open)
	if err != nil {
		return err
	}
	list, err := t.store.TrashBefore(s.ctx, before)
	if err == nil && !o.dryRun {
		_, err = t.store.EmptyTrash(s.ctx, before)
	}
	if err != nil {
		return at(a.Maildir, err)
	}
	for _, one := range list {
		s.out.event(trashedOf("emptied", one, ""))
	}
	s.out.summary.Mailboxes.Total = len(mailboxesOf(list))
	s.out.summary.Mailboxes.Changed = s.out.summary.Mailboxes.Total
	switch {
	case s.out.quiet:
	case len(list) == 0:
		s.out.result("nothing to remove")
	case o.dryRun:
		s.out.result("dry run, nothing was changed: %s would be removed for good", trashSum(list))
	default:
		s.out.result("removed for good: %s", trashSum(list))
	}
	return nil
}

// readSubject finds the subject of a message; "" when it has none, or none that
// can be read.
func readSubject(r io.Reader) string {
	lines := bufio.NewReader(io.LimitReader(r, mail.MaxHeader))
	subject, in := "", false
	for {
		line, err := lines.ReadString('\n')
		text := strings.TrimRight(line, "\r\n")
		switch {
		case text == "":
			return decodeSubject(subject)
		case text[0] == ' ' || text[0] == '\t':
			if in {
				subject += " " + strings.TrimSpace(text)
			}
		case in:
			return decodeSubject(subject)
		default:
			name, value, _ := strings.Cut(text, ":")
			if in = strings.EqualFold(strings.TrimSpace(name), "subject"); in {
				subject = strings.TrimSpace(value)
			}
		}
		if err != nil {
			return decodeSubject(subject)
		}
	}
}

// decodeSubject reads encoded words (RFC 2047), where their character set is one
// that everybody knows.
func decodeSubject(s string) string {
	if text, err := new(mime.WordDecoder).DecodeHeader(s); err == nil {
		return text
	}
	return s
}

// clipText cuts a text to so many characters.
func clipText(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-3]) + "..."
	}
	return s
}

// flagLetters are flags as in the name of a file in a Maildir, then keywords.
func flagLetters(f mail.Flags) string {
	letters, words := "", ""
	for _, name := range f.Names() {
		if letter, ok := map[string]string{`\Draft`: "D", `\Flagged`: "F", "$Forwarded": "P", `\Answered`: "R", `\Seen`: "S", `\Deleted`: "T"}[name]; ok {
			letters += letter
		} else {
			words += " " + name
		}
	}
	if letters == "" {
		letters = "-"
	}
	return letters + words
}
