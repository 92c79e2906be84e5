package cli

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/headers"
	"postbag/internal/history"
	"postbag/internal/mail"
	"postbag/internal/match"
	"postbag/sync"
)

func listCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list messages, chosen by sender, subject, date, flags and more",
		UsageText: "list ACCOUNT\nlist MAILDIR\nlist SERVER",
		Description: `Lists ID, date, size, flags, mailbox, sender and subject, decoded, of the
messages that match all that is asked for. An account is looked for in its
Maildir, and no server is asked; a SERVER is. The headers are kept in a cache, so
that a second call reads none of them. Nothing is changed.

The IDs, alone with --only-ids, are those that restore --ids takes. With --as-of
or --run, the account is listed as it was at that time.`,
		ArgsUsage: `  postbag list work --from alice --since 90d
  postbag list ~/mail --mailbox INBOX --subject invoice --not-flag seen --json
  postbag list work --as-of 2024-01-31 --mailbox INBOX --only-ids`,
		Flags: flags(selectFlags(), filterFlags(), matchFlags(), pastFlags(), idsFlags(), []cli.Flag{gmailFlag(),
			&cli.BoolFlag{Name: "fresh", Category: catWhat, Usage: "do without the cache, and read every header again"},
			&cli.BoolFlag{Name: "only-ids", Category: catOutput, Usage: "nothing but the IDs, one a line"},
		}, configFlags(), withoutRate(serverFlags()), maildirFlags(), outputFlags()),
		Action: s.opening(func(o *options, args []string, open *closers) error {
			if o.onlyIDs && s.out.json {
				return usageError("--only-ids", "the objects of --json have the IDs", "does not go with --json")
			}
			if len(args) != 1 {
				return usageError("list", "postbag help list", "takes one account, server or Maildir, not %d", len(args))
			}
			l, err := s.openList(o, args[0], open)
			if err != nil {
				return err
			}
			return l.run(o)
		}),
	}
}

// lister lists one place.
type lister struct {
	s       *session
	store   mail.Store
	where   string
	match   func(mail.MailboxInfo) bool
	filter  sync.Filter
	rule    *match.Matcher
	onlyIDs bool
	chosen  func(id string) bool
	caches  string                        // the directory of the caches; "" for none
	epoch   func(mail.MailboxInfo) string // of IDs
	id      func(string, mail.Ref) string // of a message of the past
	roles   map[string]mail.SpecialUse    // that the store does not know
	total   struct {
		n, boxes int
		b        int64
	}
}

// openList opens what the argument names, as it is or as it was.
func (s *session) openList(o *options, arg string, open *closers) (*lister, error) {
	e, err := s.endpoints(o).parse(arg)
	if err != nil {
		return nil, err
	}
	a := o.accountOf(e)
	patterns, err := config.ParsePatterns(o.mailboxes)
	if err != nil {
		return nil, err
	}
	l := &lister{s: s, match: patterns.Match, filter: filter(a, s.env), rule: match.New(o.match), onlyIDs: o.onlyIDs, chosen: o.chosen,
		epoch: func(mail.MailboxInfo) string { return "" }}
	switch {
	case !o.past.isZero():
		if a.Maildir == "" {
			return nil, usageError("--as-of", "name the account or its Maildir", "a server does not know what was")
		}
		past, err := s.openPast(o, a, open)
		if err != nil {
			return nil, err
		}
		l.store, l.where = past, a.Maildir
		l.id = func(_ string, ref mail.Ref) string { return ref.Key }
	case a.Maildir != "":
		tree, err := s.openToRead(a.Maildir, s.treeOptions(&config.Account{Layout: a.Layout}))
		if err != nil {
			return nil, err
		}
		open.add(tree)
		l.store, l.where, l.roles = tree, a.Maildir, s.knownRoles(statePath(a, tree))
		l.caches = s.cachesOf(tree, tree.StateDir())
	default:
		server, err := s.openServer(a, o.trace, open)
		if err != nil {
			return nil, err
		}
		useLabelsToRead(server, o, a, patterns)
		l.store, l.where, l.caches = server, a.Server.String(), s.cachesOf(server, "")
		l.epoch = func(info mail.MailboxInfo) string { return info.Validity }
	}
	if o.fresh {
		l.caches = ""
	}
	list, err := l.list()
	if err != nil {
		return nil, err
	}
	return l, patterns.Check(list)
}

// cachesOf is the directory of a store's caches: beside its state where there is one,
// else in the user's cache directory; "" where there is neither.
func (s *session) cachesOf(store mail.Store, stateDir string) string {
	if stateDir != "" {
		if info, err := os.Stat(stateDir); err == nil && info.IsDir() {
			return filepath.Join(stateDir, "headers")
		}
	}
	dir := s.env.cacheDir()
	if dir == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(store.Account()))
	return filepath.Join(dir, "headers", hex.EncodeToString(sum[:16]))
}

// list is the store's list, with the roles that only the state knows.
func (l *lister) list() ([]mail.MailboxInfo, error) {
	list, err := l.store.List(l.s.ctx)
	if err != nil {
		return nil, at(l.where, err)
	}
	for i := range list {
		list[i].Use = cmp.Or(list[i].Use, l.roles[list[i].Name])
	}
	return list, nil
}

func (l *lister) run(o *options) error {
	list, err := l.list()
	if err != nil {
		return err
	}
	failed := false
	for _, info := range list {
		if !l.match(info) || info.NoSelect {
			continue
		}
		err := info.Err
		if err == nil {
			err = l.box(info.Name)
		}
		if err != nil {
			if e := mail.AsError(err); e.Scope != mail.ScopeMailbox || l.s.ctx.Err() != nil {
				return at(l.where, err)
			}
			l.s.out.warn("%s: %v", info.Name, err)
			failed = true
		}
	}
	l.s.out.summary.Mailboxes.Total = l.total.boxes
	if !o.onlyIDs {
		l.s.out.result("%s (%s) in %s", count(l.total.n, "message"), size(l.total.b), count(l.total.boxes, "mailbox"))
	}
	if failed {
		return exitError(exitPartial)
	}
	return nil
}

// box lists the messages of one mailbox that match, by date.
func (l *lister) box(name string) error {
	mb, err := l.store.Examine(l.s.ctx, name)
	if err != nil {
		return err
	}
	defer mb.Close()
	c, err := l.look(mb, name)
	if err != nil {
		return err
	}
	epoch := l.epoch(mb.Info())
	id := func(ref mail.Ref) string {
		if l.id != nil {
			return l.id(name, ref)
		}
		return history.ID(name, epoch, ref)
	}
	var found []*headers.Entry
	for i := range c.Entries {
		e := &c.Entries[i]
		if l.rule.Flags(e.Flags) && l.filter.Pass(mail.Message{Ref: e.Ref, Size: e.Size, Date: e.Date}) && l.rule.Header(&e.Header) && l.chosen(id(e.Ref)) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b *headers.Entry) int {
		if c := a.Date.Compare(b.Date); c != 0 {
			return c
		}
		return cmp.Compare(id(a.Ref), id(b.Ref)) // the same order as of any time
	})
	if len(found) > 0 {
		l.total.boxes++
	}
	for _, e := range found {
		if l.s.ctx.Err() != nil {
			return l.s.ctx.Err()
		}
		l.total.n++
		l.total.b += max(e.Size, 0)
		l.one(name, id(e.Ref), e)
	}
	return nil
}

// look brings what is known of a mailbox up to date.
func (l *lister) look(mb mail.Mailbox, name string) (*headers.Cache, error) {
	path := ""
	c := &headers.Cache{Account: l.store.Account(), Mailbox: name}
	if l.caches != "" {
		sum := sha256.Sum256([]byte(name))
		path = filepath.Join(l.caches, hex.EncodeToString(sum[:16]))
		c = headers.Load(path, c.Account, name)
	}
	read := 0
	changed, err := c.Update(l.s.ctx, mb, func() { read++ })
	if err != nil {
		return nil, err
	}
	if read > 0 {
		l.s.out.note("%s: read %s", name, count(read, "header"))
	}
	if changed && path != "" {
		if err := c.Save(path); err != nil {
			l.s.out.note("%s: the headers are not kept: %v", name, err)
		}
	}
	return c, nil
}

// one writes one message.
func (l *lister) one(box, id string, e *headers.Entry) {
	if l.onlyIDs {
		l.s.out.result("%s", id)
		return
	}
	if l.s.out.json {
		m := messageEvent{Event: "message", ID: id, Mailbox: valid(box), UID: e.Ref.UID, Flags: e.Flags.Names(),
			From: e.Header.From, To: e.Header.To, Subject: e.Header.Subject, MessageID: e.Header.MessageID}
		if l.id == nil {
			m.Key = valid(e.Ref.Key)
		}
		if m.Flags == nil {
			m.Flags = []string{}
		}
		if !e.Date.IsZero() {
			at := e.Date.UTC()
			m.Date = &at
		}
		if e.Size >= 0 {
			m.Size = &e.Size
		}
		if !e.Header.Date.IsZero() {
			m.Sent = &e.Header.Date
		}
		l.s.out.event(m)
		return
	}
	bytes := "-"
	if e.Size >= 0 {
		bytes = size(e.Size)
	}
	date := "-"
	if !e.Date.IsZero() {
		date = e.Date.In(l.s.env.Now().Location()).Format("2006-01-02 15:04")
	}
	l.s.out.result("%s  %-16s  %7s  %-5s  %s  %s  %s", id, date, bytes, flagLetters(e.Flags), box, clipText(e.Header.From, 40), clipText(e.Header.Subject, 60))
}

// cacheDir is where a user's caches are; "" when there is no home for them.
func (env *Env) cacheDir() string {
	if dir, _ := env.LookupEnv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "postbag")
	}
	if env.Home == "" {
		return ""
	}
	return filepath.Join(env.Home, ".cache", "postbag")
}
