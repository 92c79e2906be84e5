package imapstore

import (
	"errors"
	"net"
	"slices"
	"strings"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// Quirk is what is known to be special about one provider or one kind of server:
// how it is recognised, what has to be done about it, and what its users have to
// know. A row applies when any of its matches does, or when it was asked for by the
// name of a preset; the effects of all rows that apply are joined. The table of
// them is the only place that knows a provider by name.
type Quirk struct {
	Name string // of the server or provider

	Hosts    []string // the host is one of them, or below one of them
	Caps     []string // any of these capabilities is offered
	ID       []string // "field=text": a field of the server's ID holds text (RFC 2971), in any case
	Greeting []string // the text of the greeting holds it, in any case
	// Lacks narrows the matches but Hosts: none of these capabilities is offered.
	Lacks []string

	// MaxConnections is the most connections that this account should have at
	// a time. 0: as configured.
	MaxConnections int
	// Ahead is how many commands may wait for their replies on a connection. 0: as
	// many as suits us.
	Ahead int
	// Deny lists capabilities that are offered but not to be used.
	Deny []string
	// NoSearch: SEARCH leaves messages out; list them with FETCH.
	NoSearch bool
	// FoldNames: names of mailboxes that differ in case only are one.
	FoldNames bool
	// NoMailboxID: STATUS tells the IDs of mailboxes wrong; only SELECT is asked.
	NoMailboxID bool
	// ShowsAtMost are numbers of messages at which the server stops to show more of a
	// mailbox. In one with exactly as many, a message that is not there any more may
	// only be out of sight, and counts as deleted by nobody.
	ShowsAtMost []uint32
	// StoreAfterAppend are flags that APPEND drops, or that make it do something
	// else: they are left out of it and set afterwards.
	StoreAfterAppend mail.System
	// KeywordsAfterAppend: a keyword that the server does not like makes it refuse the
	// message. They are left out of APPEND and set afterwards.
	KeywordsAfterAppend bool
	// AppendLimit is the most octets that a message may have, where the server does
	// not tell (RFC 7889). It is one that cannot be raised. 0: none is known.
	AppendLimit int64
	// MaxLine is the most octets that a line of a message may have without its CRLF.
	// 0: no limit is known.
	MaxLine int
	// FinalCRLF: a message that does not end in CRLF is refused.
	FinalCRLF bool
	// DayUp and DayDown are the octets that may be sent to the account, and read from
	// it, in a day. 0: no bound is known.
	DayUp, DayDown int64
	// BadNames are names, in lower case, that a mailbox at the top cannot have.
	BadNames []string
	// BadInNames are characters that no name of a mailbox may hold.
	BadInNames string
	// NoEdgeSpaces: no name begins or ends with a space.
	NoEdgeSpaces bool
	// NoDoubleSpaces: no name holds two spaces in a row.
	NoDoubleSpaces bool
	// NoInboxChildren: there are no mailboxes below INBOX.
	NoInboxChildren bool

	// Presets are short names for addresses of this provider.
	Presets []Preset
	// Login says, in one line, what the provider wants when it refuses a login.
	Login string
	// Advice is what else its users should know, a sentence or two each.
	Advice []string

	Sources []Source
}

// Preset is the short name of an address: "gmail" in "gmail:me@example.org".
type Preset struct {
	Name string // in lower case
	// Server is the address without a user, "imaps://imap.example.org". "" when
	// every user of it has a server of their own: then it only makes the row apply.
	Server string
	// Domains are those of mail addresses that go with it.
	Domains []string
}

// Source says who found out.
type Source struct {
	For   string // the fields that it speaks for, with a space between them
	Where string // a page, an RFC, a thread; or a test of ours
	Date  string // when it was last looked at, "2006-01"
}

// quirkTable holds the rows of providers and then those of server programs: where
// both have a Login, that of the provider is shown.
var quirkTable = slices.Concat(providerRows, serverRows)

// Quirks is the table of all that is known, for the documentation.
func Quirks() []Quirk { return slices.Clone(quirkTable) }

// FindPreset is the address that a short name stands for, without a user; the
// names of all presets when there is none of that name.
func FindPreset(name string) (server string, ok bool, all []string) {
	return findPreset(quirkTable, name)
}

func findPreset(table []Quirk, name string) (server string, ok bool, all []string) {
	for _, q := range table {
		for _, p := range q.Presets {
			if strings.EqualFold(p.Name, name) {
				return p.Server, true, nil
			}
			all = append(all, p.Name)
		}
	}
	slices.Sort(all)
	return "", false, all
}

// PresetFor is the preset that goes with a mail address, "" when none is known.
func PresetFor(address string) string {
	_, domain, _ := strings.Cut(address, "@")
	for _, q := range quirkTable {
		for _, p := range q.Presets {
			if slices.Contains(p.Domains, strings.ToLower(domain)) {
				return p.Name
			}
		}
	}
	return ""
}

// peer is what is known of a server by now. Before the connection is there only
// addr and preset are; the greeting comes before the login, id after it.
type peer struct {
	addr     string // host:port
	preset   string // as asked for; "" for none
	greeting string // "" when it cannot be trusted
	has      func(capability string) bool
	id       map[string]string
}

func (p *peer) host() string {
	host := p.addr
	if h, _, err := net.SplitHostPort(p.addr); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// effect is the rows that apply to a server, joined.
type effect struct {
	Quirk
	rows []Quirk // as they are in the table
}

// names are the names of the rows.
func (e *effect) names() []string {
	names := make([]string, len(e.rows))
	for i, q := range e.rows {
		names[i] = q.Name
	}
	return names
}

// quirksOf joins the rows of a table that apply to a server. What was asked for by
// name comes first: its Login is the one that is shown.
func quirksOf(table []Quirk, p peer) (e effect) {
	host := p.host()
	for _, q := range table {
		if q.isAsked(p.preset) {
			e.add(q)
		}
	}
	for _, q := range table {
		if !q.isAsked(p.preset) && q.matches(host, &p) {
			e.add(q)
		}
	}
	return e
}

func (q *Quirk) isAsked(preset string) bool {
	return slices.ContainsFunc(q.Presets, func(p Preset) bool { return strings.EqualFold(p.Name, preset) })
}

// add joins one row: of bounds the tighter one, of everything else all.
func (e *effect) add(q Quirk) {
	e.rows = append(e.rows, q)
	e.MaxConnections = tighter(e.MaxConnections, q.MaxConnections)
	e.Ahead = tighter(e.Ahead, q.Ahead)
	e.AppendLimit = tighter(e.AppendLimit, q.AppendLimit)
	e.MaxLine = tighter(e.MaxLine, q.MaxLine)
	e.DayUp = tighter(e.DayUp, q.DayUp)
	e.DayDown = tighter(e.DayDown, q.DayDown)
	e.Deny = append(e.Deny, q.Deny...)
	e.ShowsAtMost = append(e.ShowsAtMost, q.ShowsAtMost...)
	e.BadNames = append(e.BadNames, q.BadNames...)
	e.BadInNames += q.BadInNames
	e.StoreAfterAppend |= q.StoreAfterAppend
	e.NoSearch = e.NoSearch || q.NoSearch
	e.FoldNames = e.FoldNames || q.FoldNames
	e.NoMailboxID = e.NoMailboxID || q.NoMailboxID
	e.KeywordsAfterAppend = e.KeywordsAfterAppend || q.KeywordsAfterAppend
	e.FinalCRLF = e.FinalCRLF || q.FinalCRLF
	e.NoEdgeSpaces = e.NoEdgeSpaces || q.NoEdgeSpaces
	e.NoDoubleSpaces = e.NoDoubleSpaces || q.NoDoubleSpaces
	e.NoInboxChildren = e.NoInboxChildren || q.NoInboxChildren
	if e.Login == "" {
		e.Login = q.Login
	}
}

// explain adds to a refused login what this provider wants, where the refusal says
// no more than that.
func (e *effect) explain(err error) error {
	was, ok := errors.AsType[*mail.Error](err)
	if !ok || was.Kind != mail.KindLogin || e.Login == "" {
		return err
	}
	with := *was
	with.Hint = strings.Replace(with.Hint, imapconn.HintLogin, e.Login, 1)
	if with.Hint == imapconn.HintOAuth {
		with.Hint = e.Login
	}
	return &with
}

// tighter is the smaller of two bounds, of which 0 is none.
func tighter[T int | int64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (q *Quirk) matches(host string, p *peer) bool {
	for _, h := range q.Hosts {
		if host == h || strings.HasSuffix(host, "."+h) {
			return true
		}
	}
	return q.shows(p) && (len(q.Lacks) == 0 || p.has != nil && !slices.ContainsFunc(q.Lacks, p.has))
}

// shows reports whether the server shows what it is by itself.
func (q *Quirk) shows(p *peer) bool {
	if p.has != nil && slices.ContainsFunc(q.Caps, p.has) {
		return true
	}
	greeting := strings.ToLower(p.greeting)
	if slices.ContainsFunc(q.Greeting, func(text string) bool { return strings.Contains(greeting, text) }) {
		return true
	}
	for _, want := range q.ID {
		key, text, _ := strings.Cut(want, "=")
		for k, v := range p.id {
			if strings.EqualFold(k, key) && strings.Contains(strings.ToLower(v), text) {
				return true
			}
		}
	}
	return false
}
