package cli

import (
	"cmp"
	"strings"

	"postbag/internal/config"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/internal/mapping"
	"postbag/sync"
)

// unjoined tells whether the arguments of verify are two places that no state
// joins: two servers, two trees, or a tree and then a server.
func unjoined(ends []endpoint) bool {
	return len(ends) == 2 && (ends[0].isServer() == ends[1].isServer() || !ends[0].isServer())
}

// compareEnds compares any two places by what identifies their messages.
func (s *session) compareEnds(o *options, ends []endpoint) error {
	first := ends[0].account
	if first == nil {
		first = &config.Account{Maildir: ends[0].maildir}
	}
	code := s.watch.account(first, func() int {
		var open closers
		result, err := s.runCompare(o, ends, &open)
		return s.verified("", result, err, &open)
	})
	if code != exitDone {
		return exitError(code)
	}
	return nil
}

func (s *session) runCompare(o *options, ends []endpoint, open *closers) (*sync.Verified, error) {
	flags := []*options{o, o.to}
	if !ends[0].isServer() {
		flags[1] = o // the one server that there is
	}
	a := o.withFlags(chooser(ends))
	patterns, err := config.ParsePatterns(a.Mailboxes)
	if err != nil {
		return nil, err
	}
	var stores [2]mail.Store
	for i, e := range ends {
		if stores[i], err = s.openEnd(flags[i], e, open); err != nil {
			return nil, err
		}
		if server, ok := stores[i].(*imapstore.Store); ok {
			useLabels(server, cmp.Or(o.gmail, e.account.Gmail), [2]*config.Patterns{patterns}[i])
		}
	}
	list, err := s.listRoles(stores[0])
	if err != nil {
		return nil, err
	}
	if err := patterns.Check(list); err != nil {
		return nil, err
	}
	there, err := s.listRoles(stores[1])
	if err != nil {
		return nil, err
	}
	routes, err := s.compareRoutes(o, chosen(list, patterns), stores[1], there)
	if err != nil {
		return nil, err
	}
	others, err := otherRoutes(routes, list, there, o)
	if err != nil {
		return nil, err
	}
	routes = append(routes, others...)
	s.showRoutes(&options{}, routes)
	repairs, swapped := s.recordedRepairs(o, ends, stores, open)
	display := s.display()
	defer display.Close()
	return sync.Compare(s.ctx, sync.CompareOptions{
		Repairs: repairs, Swapped: swapped,
		A: stores[0], B: mapping.New(stores[1], routes), Match: matchRoutes(patterns, routes), Deep: o.deep,
		Filter:   filter(a, s.env),
		Progress: display, Found: func(f sync.Finding) { s.finding("", f) },
	})
}

// chooser is the account whose configuration chooses what is compared, as it chooses
// what a migration or a restore between the two copies: that of the first server.
func chooser(ends []endpoint) *config.Account {
	for _, e := range ends {
		if e.isServer() {
			return e.account
		}
	}
	return &config.Account{}
}

// compareRoutes plans which mailbox is to be which, as a migration or a restore does.
func (s *session) compareRoutes(o *options, list []mail.MailboxInfo, dest mail.Store, there []mail.MailboxInfo) ([]mapping.Route, error) {
	if server, ok := dest.(*imapstore.Store); ok {
		return s.planRoutes(o, list, server, there)
	}
	return mapping.Plan(list, mapping.Dest{Listed: there, Archive: o.gmail != config.GmailPlain}, o.rules, o.under)
}

func chosen(list []mail.MailboxInfo, patterns *config.Patterns) (out []mail.MailboxInfo) {
	for _, info := range list {
		if patterns.Match(info) {
			out = append(out, info)
		}
	}
	return out
}

// otherRoutes are for what only the second side has, so that it is looked at as
// well: mailboxes that no route leads to and no rule leaves out, below the one that
// everything is under.
func otherRoutes(routes []mapping.Route, list, there []mail.MailboxInfo, o *options) ([]mapping.Route, error) {
	known, reached, roles := map[string]bool{}, map[string]bool{}, map[mail.SpecialUse]bool{}
	for _, info := range list {
		known[info.Name], roles[info.Use] = true, info.Use != ""
	}
	for _, r := range routes {
		reached[r.To] = true
	}
	var out []mapping.Route
	for _, info := range there {
		from, below := info.Name, true
		if o.under != "" {
			from, below = strings.CutPrefix(info.Name, o.under+"/")
		}
		if !below || known[from] || reached[info.Name] || roles[info.Use] || info.NoSelect || info.View {
			continue
		}
		ruled, err := mapping.Plan([]mail.MailboxInfo{{Name: from}}, mapping.Dest{}, o.rules, "")
		if err != nil {
			return nil, err
		}
		if ruled[0].To != "" {
			out = append(out, mapping.Route{From: from, To: info.Name, Why: mapping.ByName, Messages: -1, Bytes: -1})
		}
	}
	return out, nil
}

// openEnd opens a place for reading.
func (s *session) openEnd(o *options, e endpoint, open *closers) (mail.Store, error) {
	if !e.isServer() {
		store, err := s.openToRead(e.maildir, s.treeOptions(&config.Account{Layout: o.layout}))
		if err != nil {
			return nil, err
		}
		open.add(store)
		return store, nil
	}
	return s.openServer(o.withFlags(e.account), o.trace, open)
}
