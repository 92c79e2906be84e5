package maildir

import (
	"context"
	"fmt"
	"io/fs"

	"postbag/internal/mail"
)

// Check looks through the whole tree, without reading messages and without
// changing anything, and tells what is not as postbag leaves it: mailboxes that
// cannot be used, files that are no messages, keys that several files share,
// and deliveries that came to no end. Each line names the mailbox; file names in
// it are quoted. A sound tree that others use, too, may well have some.
func (s *Store) Check(ctx context.Context) ([]string, error) {
	list, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, info := range list {
		switch {
		case info.Err != nil:
			out = append(out, fmt.Sprintf("%q: %v", info.Name, info.Err))
		case !info.NoSelect:
			found, err := s.checkBox(ctx, info.Name)
			if err != nil {
				found = append(found, fmt.Sprintf("%q: %v", info.Name, err))
			}
			out = append(out, found...)
		}
		if err := ctx.Err(); err != nil {
			return out, fail("check", "", mail.ScopeAccount, mail.Ref{}, err)
		}
	}
	return out, nil
}

func (s *Store) checkBox(ctx context.Context, name string) ([]string, error) {
	m, err := s.openMailbox(ctx, "check", name, false)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	var out []string
	add := func(what, dir, file string) {
		out = append(out, fmt.Sprintf("%q: %s: %q", name, what, dir+"/"+file))
	}
	for where, d := range m.sub {
		if d == nil {
			continue
		}
		err := d.Names(func(file []byte, typ fs.FileMode) error {
			if file[0] != '.' && (keyLength(file) == 0 || typ != 0 && typ != fs.ModeIrregular) {
				add("not a message", subdir(where).String(), string(file))
			}
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	scan, err := m.scanNames(ctx)
	if err != nil {
		return out, err
	}
	for _, l := range scan.doubles {
		add("one of several files with one key", l.where.String(), l.name)
	}
	tmp, err := m.dir.OpenDir("tmp")
	if err != nil {
		return out, ignoreGone(err)
	}
	defer tmp.Close()
	left, err := names(tmp, isOwnKey)
	for _, file := range left {
		add("a delivery without an end", "tmp", file)
	}
	return out, err
}
