package cli

import (
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
	var open closers
	result, err := s.runCompare(o, ends, &open)
	if code := s.verified("", result, err, &open); code != exitDone {
		return exitError(code)
	}
	return nil
}

func (s *session) runCompare(o *options, ends []endpoint, open *closers) (*sync.Verified, error) {
	patterns, err := config.ParsePatterns(o.mailboxes)
	if err != nil {
		return nil, err
	}
	flags := []*options{o, o.to}
	if !ends[0].isServer() {
		flags[1] = o // the one server that there is
	}
	var stores [2]mail.Store
	for i, e := range ends {
		if stores[i], err = s.openEnd(flags[i], e, open); err != nil {
			return nil, err
		}
	}
	list, err := stores[0].List(s.ctx)
	if err != nil {
		return nil, err
	}
	if err := patterns.Check(list); err != nil {
		return nil, err
	}
	there, err := stores[1].List(s.ctx)
	if err != nil {
		return nil, err
	}
	fold := false
	if server, ok := stores[1].(*imapstore.Store); ok {
		fold = server.FoldsNames()
	}
	routes, err := mapping.Plan(withOthers(list, there), mapping.Dest{Listed: there, Fold: fold}, o.rules, o.under)
	if err != nil {
		return nil, err
	}
	s.showRoutes(&options{}, routes)
	display := s.display()
	defer display.Close()
	return sync.Compare(s.ctx, sync.CompareOptions{
		A: stores[0], B: mapping.New(stores[1], routes), Match: matchRoutes(patterns, routes), Deep: o.deep,
		Filter:   filter(o.withFlags(&config.Account{}), s.env),
		Progress: display, Found: func(f sync.Finding) { s.finding("", f) },
	})
}

// withOthers adds to what one side lists what only the other has, so that it is
// looked at as well.
func withOthers(list, there []mail.MailboxInfo) []mail.MailboxInfo {
	known := map[string]bool{}
	roles := map[mail.SpecialUse]bool{}
	for _, info := range list {
		known[info.Name] = true
		if info.Use != "" {
			roles[info.Use] = true
		}
	}
	all := append([]mail.MailboxInfo{}, list...)
	for _, info := range there {
		if !known[info.Name] && !roles[info.Use] && !info.NoSelect {
			all = append(all, mail.MailboxInfo{Name: info.Name, Messages: -1, Bytes: -1})
		}
	}
	return all
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
