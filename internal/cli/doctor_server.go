package cli

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"postbag/internal/config"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
)

// doctorServer tells what a server is and how it is used.
func (s *session) doctorServer(o *options, a *config.Account, open *closers) error {
	store, err := s.openServer(a, o.trace, open)
	if err != nil {
		return err
	}
	list, err := store.List(s.ctx)
	if err != nil {
		return at(a.Server.String(), err)
	}
	about, err := store.About(s.ctx)
	if err != nil {
		return at(a.Server.String(), err)
	}
	event := serverEventOf(a, &about, list)
	s.out.event(event)
	s.fact("server", "%s", a.Server)
	s.fact("software", "%s", cmp.Or(software(&about), "it does not say"))
	s.serverUse(&about)
	s.serverLimits(&about)
	for _, r := range event.Roles {
		s.fact("role", "%-9s %s", r.Role, r.Mailbox)
	}
	if len(event.Roles) == 0 {
		s.fact("role", "no mailbox has one")
	}
	s.fact("offers", "%s", strings.Join(about.Capabilities, " "))
	for _, q := range about.Rows {
		s.fact("known as", "%s", q.Name)
		for _, text := range q.Effects() {
			s.fact("", "%s", text)
		}
		for _, text := range q.Advice {
			s.fact("advice", "%s", text)
		}
	}
	return nil
}

// software is what the server says that it is.
func software(a *imapstore.About) string {
	if name := a.ID["name"]; name != "" {
		return strings.TrimSpace(name + " " + a.ID["version"])
	}
	return a.Greeting
}

// changesText says how changes are found, by About.Changes.
var changesText = map[string]string{
	"QRESYNC":   "the server tells what changed and what is gone (QRESYNC); a mailbox without changes costs nothing",
	"CONDSTORE": "the server tells what changed (CONDSTORE), and what is gone is counted; a mailbox without changes costs nothing",
	"listing":   "the flags of all messages are listed in each run: the server has no CONDSTORE that can be used",
}

var listingText = map[string]string{
	"LIST-STATUS": "listed with their counters in one round trip (LIST-STATUS)",
	"STATUS":      "listed, and one STATUS for each of them",
}

var movesText = map[string]string{
	"MOVE": "the server moves (MOVE)",
	"COPY": "copied, and removed where they were once the copy is proved to be there",
	"":     "not possible: the server can neither move messages nor remove single ones",
}

var literalsText = map[string]string{
	"LITERAL+": "without waiting for the server's leave (LITERAL+)",
	"LITERAL-": "up to 4096 octets without waiting for the server's leave (LITERAL-)",
	"":         "each after the server's leave",
}

// serverUse tells how the server is worked with.
func (s *session) serverUse(a *imapstore.About) {
	s.fact("changes", "%s", changesText[a.Changes])
	s.fact("mailboxes", "%s", listingText[a.Listing])
	s.fact("uploads", "%s, %s", either(a.Several, "many messages in one APPEND (MULTIAPPEND)", "one message in each APPEND"), literalsText[a.Literals])
	s.fact("moves", "%s", movesText[a.Moves])
	s.fact("deletions", "%s", either(a.Expunges, "single messages are expunged (UIDPLUS)", "messages are only marked as deleted: the server cannot expunge single ones"))
	s.fact("connections", "%d at most", a.Connections)
	s.fact("compression", "%s", either(a.Compress, "yes (COMPRESS=DEFLATE), unless it is switched off", "no"))
	names := "no mailboxes within mailboxes"
	if a.Delimiter != "" {
		names = "divided by " + a.Delimiter
	}
	s.fact("names", "%s%s", names, either(a.Prefix != "", ", all after "+a.Prefix, ""))
}

// serverLimits tells what the server takes.
func (s *session) serverLimits(a *imapstore.About) {
	s.fact("largest", "%s", either(a.AppendLimit >= 0, "a message of "+size(a.AppendLimit), "the server does not say how large a message may be"))
	if a.MaxLine > 0 {
		s.fact("longest", "a line of %d octets", a.MaxLine)
	}
	room := "the server does not say"
	if q := a.Quota; q.Limit >= 0 {
		room = size(q.Used) + " used of " + size(q.Limit)
	}
	s.fact("quota", "%s", room)
}

// serverEventOf is the same for programs.
func serverEventOf(a *config.Account, about *imapstore.About, list []mail.MailboxInfo) serverEvent {
	e := serverEvent{
		Event: "server", Account: a.Name, Server: valid(a.Server.String()), Software: valid(software(about)),
		Capabilities: []string{}, Changes: about.Changes, Listing: about.Listing, Moves: about.Moves, Expunges: about.Expunges,
		Several: about.Several, Literals: about.Literals, Compress: about.Compress, Connections: about.Connections,
		MaxLine: about.MaxLine, Prefix: valid(about.Prefix), Delimiter: valid(about.Delimiter), Roles: []roleOf{}, Known: []knownFor{},
	}
	for _, c := range about.Capabilities {
		e.Capabilities = append(e.Capabilities, valid(c))
	}
	if about.AppendLimit >= 0 {
		e.AppendLimit = &about.AppendLimit
	}
	if about.Quota.Limit >= 0 {
		e.QuotaUsed, e.QuotaLimit = &about.Quota.Used, &about.Quota.Limit
	}
	roles := map[mail.SpecialUse]string{}
	for _, info := range list {
		if info.Use != "" && roles[info.Use] == "" {
			roles[info.Use] = info.Name
		}
	}
	for _, use := range slices.Sorted(maps.Keys(roles)) {
		e.Roles = append(e.Roles, roleOf{string(use), valid(roles[use])})
	}
	for _, q := range about.Rows {
		k := knownFor{Name: q.Name, Effects: append([]string{}, q.Effects()...), Advice: append([]string{}, q.Advice...), Sources: []string{}}
		for _, src := range q.Sources {
			k.Sources = append(k.Sources, src.Where)
		}
		e.Known = append(e.Known, k)
	}
	return e
}
