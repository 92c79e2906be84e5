package cli

import (
	"errors"
	"slices"

	"postbag/internal/config"
	"postbag/internal/history"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/internal/mapping"
	"postbag/maildir"
	"postbag/state"
	"postbag/sync"
)

// A restore of what was puts back what the account has lost since: messages that are
// gone from the mailbox in which they were. What a backup keeps of them goes back
// under the Maildir's own state, so that the next backup knows it and fetches nothing.
// The rest, whose file was moved on or lies in the trash, goes from a store of that
// time under a state of its own.

// pastRestore is a restore to a moment.
type pastRestore struct {
	s        *session
	o        *options
	a        *config.Account
	tree     *maildir.Store
	server   *imapstore.Store
	view     *history.View
	own      bool // to where the mail came from, under its names
	patterns *config.Patterns
}

func (s *session) restorePast(o *options, a *config.Account, patterns *config.Patterns, open *closers) (*sync.Report, error) {
	tree, err := s.openToRead(a.Maildir, s.treeOptions(&config.Account{Layout: a.Layout}))
	if err != nil {
		return nil, err
	}
	open.add(tree)
	own := o.rules == nil && o.under == "" && tree.Owner() == a.Server.Identity()
	b := *a
	if !own { // the state tells what was; --state is that of the two places
		b = config.Account{}
	}
	t, err := s.withState(&b, tree, state.Options{Command: "restore", ReadOnly: o.dryRun || !own}, open)
	if errors.Is(err, state.ErrNoState) {
		return nil, usageError("--as-of", "without --as-of all that is in the Maildir is restored", "%s has no state, and so no history", a.Maildir)
	}
	if err != nil {
		return nil, err
	}
	p := &pastRestore{s: s, o: o, a: a, tree: tree, own: own, patterns: patterns}
	if p.view, err = s.viewOf(o, t.state); err != nil {
		return nil, err
	}
	if err := patterns.Check(p.view.Mailboxes()); err != nil {
		return nil, err
	}
	if p.server, err = s.openServer(a, o.trace, open); err != nil {
		return nil, err
	}
	useLabels(p.server, o.gmail, nil)
	report := &sync.Report{Command: "restore", DryRun: o.dryRun, Named: true, Outcome: sync.Done}
	if own {
		if report, err = p.kept(t.state, report); err != nil {
			return report, err
		}
	}
	return p.others(report, open)
}

// wanted reports whether a message as it was is to be put back by name and ID.
func (p *pastRestore) wanted(m *history.Message) bool {
	return m.Lost() && p.o.chosen(history.IDOf(m))
}

// kept puts back what lies in the Maildir where it was.
func (p *pastRestore) kept(db *state.DB, report *sync.Report) (*sync.Report, error) {
	rows := make(map[int64]mail.Flags)
	refs := make(map[mail.Ref]mail.Flags)
	boxes := make(map[string]bool)
	records, err := db.Mailboxes(p.s.ctx)
	if err != nil {
		return report, err
	}
	now := make(map[int64][2]string)
	for _, r := range records {
		now[r.ID] = r.Name
	}
	for _, info := range p.view.Mailboxes() {
		if !p.patterns.Match(info) {
			continue
		}
		if err := p.view.Each(p.s.ctx, info.Name, func(m *history.Message) error {
			if p.wanted(m) && m.Kept() {
				rows[m.Row], refs[m.Now.Ref[state.B]] = m.Flags, m.Flags
				for _, name := range now[m.Box] {
					boxes[name] = true
				}
			}
			return nil
		}); err != nil {
			return report, err
		}
	}
	if len(rows) == 0 {
		return report, nil
	}
	display := p.s.display()
	defer display.Close()
	return sync.Run(p.s.ctx, sync.Options{
		A: p.server, B: chosenStore{Store: p.tree, flags: refs}, Policy: sync.Restore(), Journal: db, Command: "restore", Restore: true,
		RestoreOnly: func(_ string, row *state.Row) bool { _, ok := rows[row.ID]; return ok },
		Match:       func(info mail.MailboxInfo) bool { return boxes[info.Name] },
		Filter:      filter(p.a, p.s.env), DryRun: p.o.dryRun, FailRefused: p.a.Refused == config.RefusedFail, Batch: paced(p.a, state.A),
		Workers: p.server.Connections(), Progress: display, Now: p.s.env.Now,
	})
}

// others puts back the rest.
func (p *pastRestore) others(report *sync.Report, open *closers) (*sync.Report, error) {
	store := history.NewStore(p.view, p.tree)
	store.Only = func(m *history.Message) bool {
		if p.own {
			return p.wanted(m) && !m.Kept()
		}
		return p.o.chosen(history.IDOf(m))
	}
	var list []mail.MailboxInfo
	listed := make(map[string]bool)
	for _, info := range p.view.Mailboxes() {
		if !p.patterns.Match(info) {
			continue
		}
		mb, err := store.Examine(p.s.ctx, info.Name)
		if err != nil {
			return report, err
		}
		if mb.Info().Messages > 0 {
			list = append(list, info)
			listed[info.Name] = true
		}
	}
	if len(list) == 0 {
		return report, nil
	}
	there, err := p.server.List(p.s.ctx)
	if err != nil {
		return report, err
	}
	routes, err := p.s.planRoutes(p.o, list, p.server, there)
	if err != nil {
		return report, err
	}
	id := p.tree.RootID()
	if id == "" {
		id = p.tree.Account()
	}
	pair := *p.o
	if p.own {
		pair.state = "" // that is the Maildir's
	}
	db, err := p.s.pairState(&pair, "restore", [2]string{p.a.Server.Identity(), "maildir:" + id + " as it was" + under(p.o)}, open)
	if err != nil {
		return report, err
	}
	p.s.showRoutes(p.o, routes)
	routed := matchRoutes(p.patterns, routes)
	display := p.s.display()
	defer display.Close()
	more, err := sync.Run(p.s.ctx, sync.Options{
		A: mapping.New(p.server, routes), B: store, Policy: sync.Restore(), Journal: db, Command: "restore", Restore: true,
		Match:  func(info mail.MailboxInfo) bool { return listed[info.Name] && routed(info) },
		Filter: filter(p.a, p.s.env), DryRun: p.o.dryRun,
		FailRefused: p.a.Refused == config.RefusedFail, Batch: paced(p.a, state.A),
		Workers: p.server.Connections(), Progress: display, Now: p.s.env.Now,
	})
	return joined(report, more), err
}

// joined is what two runs of one command did.
func joined(first, then *sync.Report) *sync.Report {
	out := *then
	out.Details = joinedDetails(first.Details, then.Details)
	out.Problems = append(first.Problems, then.Problems...)
	out.Kept += first.Kept
	out.Mailboxes.Total = max(first.Mailboxes.Total, then.Mailboxes.Total)
	out.Mailboxes.Skipped = max(first.Mailboxes.Skipped, then.Mailboxes.Skipped)
	out.Mailboxes.Failed += first.Mailboxes.Failed
	changed := map[string]bool{}
	for _, m := range out.Details {
		changed[m.Name] = true
	}
	out.Mailboxes.Changed = max(len(changed), first.Mailboxes.Changed, then.Mailboxes.Changed)
	for s := range out.Side {
		add(&out.Side[s], first.Side[s])
	}
	if first.Outcome == sync.Partial && then.Outcome == sync.Done {
		out.Outcome = sync.Partial
	}
	return &out
}

// joinedDetails has each mailbox once.
func joinedDetails(first, then []sync.MailboxReport) []sync.MailboxReport {
	out := slices.Clone(first)
	for _, m := range then {
		i := slices.IndexFunc(out, func(o sync.MailboxReport) bool { return o.Name == m.Name })
		if i < 0 {
			out = append(out, m)
			continue
		}
		for s := range m.Side {
			add(&out[i].Side[s], m.Side[s])
		}
		out[i].Kept += m.Kept
		out[i].Made = out[i].Made || m.Made
	}
	return out
}
