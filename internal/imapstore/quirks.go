package imapstore

import (
	"net"
	"slices"
	"strings"

	"postbag/internal/mail"
)

// Quirk is what is known to be special about one kind of server. A row applies
// when any of its three matches does; the effects of all rows that apply are
// joined. This table is the only place that knows a provider by name.
type Quirk struct {
	Name string // of the server or provider

	Hosts []string // the host is one of them, or below one of them
	Caps  []string // any of these capabilities is offered
	ID    []string // "field=text": a field of the server's ID holds text (RFC 2971), in any case

	// MaxConnections is the most connections that this account should have at
	// a time. 0: as configured.
	MaxConnections int
	// Deny lists capabilities that are offered but not to be used.
	Deny []string
	// NoSearch: SEARCH leaves messages out; list them with FETCH.
	NoSearch bool
	// FoldNames: names of mailboxes that differ in case only are one.
	FoldNames bool
	// NoMailboxID: STATUS tells the IDs of mailboxes wrong; only SELECT is asked.
	NoMailboxID bool
	// StoreAfterAppend are flags that APPEND drops, or that make it do something
	// else: they are left out of it and set afterwards.
	StoreAfterAppend mail.System

	Source string // who found out
	Date   string // when the row was last looked at
}

// quirkTable is ordered by name.
var quirkTable = []Quirk{
	{
		Name:           "Courier",
		ID:             []string{"name=courier-imap"},
		MaxConnections: 4, // MAXPERIP is 4 by default in old versions
		Source:         "courier-imap, imapd.dist: MAXPERIP",
		Date:           "2026-11",
	},
	{
		// LIST-STATUS with other items beside MAILBOXID answers with octets of memory
		// that was freed, the same for several mailboxes.
		Name:        "Cyrus",
		Caps:        []string{"X-CREATEDMODSEQ"},
		NoMailboxID: true,
		Source:      "seen on 3.6.1; internal/imapstore, TestCyrusMailboxIDs",
		Date:        "2026-11",
	},
	{
		Name:           "Dovecot",
		ID:             []string{"name=dovecot"},
		MaxConnections: 4, // others of the user's clients share the 10
		Source:         "doc.dovecot.org: mail_max_userip_connections = 10",
		Date:           "2026-11",
	},
	{
		Name:   "Exchange 2013",
		ID:     []string{"version=15.00."},
		Deny:   []string{"MOVE"},
		Source: "imapsync FAQ.Exchange: MOVE of Exchange 2013 does not move",
		Date:   "2026-11",
	},
	{
		Name:             "Exchange and Microsoft 365",
		Hosts:            []string{"outlook.office365.com", "outlook.office.com", "outlook.com", "imap-mail.outlook.com", "hotmail.com"},
		ID:               []string{"name=microsoft.exchange"},
		MaxConnections:   2,
		StoreAfterAppend: mail.Flagged,
		FoldNames:        true,
		Source:           "imapsync FAQ.Exchange, FAQ.Office365: throttling, \\Flagged lost on APPEND",
		Date:             "2026-11",
	},
	{
		Name:             "Gmail",
		Hosts:            []string{"imap.gmail.com", "imap.googlemail.com"},
		Caps:             []string{"X-GM-EXT-1"},
		MaxConnections:   8, // 15 for all clients of the account
		StoreAfterAppend: mail.Deleted,
		Source:           "support.google.com/mail/answer/7126229; imapsync FAQ.Gmail: \\Deleted on APPEND goes to the bin",
		Date:             "2026-11",
	},
	{
		Name:           "iCloud",
		Hosts:          []string{"imap.mail.me.com", "imap.mail.icloud.com", "mail.me.com", "mail.icloud.com"},
		MaxConnections: 4,
		Deny:           []string{"QRESYNC"},
		Source:         "Mailspring-Sync, pull request 91: messages disappear with QRESYNC",
		Date:           "2026-11",
	},
	{
		Name:     "SEARCH that leaves messages out",
		Hosts:    []string{"imap.yandex.ru", "imap.yandex.com", "imap.qq.com", "imap.exmail.qq.com"},
		ID:       []string{"name=smartermail", "name=icewarp", "name=domino", "name=softalk"},
		NoSearch: true,
		Source:   "imapsync FAQ.Various: SEARCH wrong or absent",
		Date:     "2026-11",
	},
	{
		Name:           "Yahoo and AOL",
		Hosts:          []string{"mail.yahoo.com", "mail.yahoo.co.jp", "imap.aol.com", "mail.aol.com"},
		Caps:           []string{"XYMHIGHESTMODSEQ"},
		MaxConnections: 2,
		Source:         "imapsync FAQ.Yahoo: few connections",
		Date:           "2026-11",
	},
}

// Quirks is the table of all that is known, for the documentation.
func Quirks() []Quirk { return slices.Clone(quirkTable) }

// quirksOf joins the rows that apply to a server. Before the connection is
// there, has and id are nil and only the host counts.
func quirksOf(addr string, has func(string) bool, id map[string]string) (effect Quirk, names []string) {
	host := addr
	if h, _, err := net.SplitHostPort(addr); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, q := range quirkTable {
		if !q.matches(host, has, id) {
			continue
		}
		names = append(names, q.Name)
		if q.MaxConnections > 0 && (effect.MaxConnections == 0 || q.MaxConnections < effect.MaxConnections) {
			effect.MaxConnections = q.MaxConnections
		}
		effect.Deny = append(effect.Deny, q.Deny...)
		effect.NoSearch = effect.NoSearch || q.NoSearch
		effect.FoldNames = effect.FoldNames || q.FoldNames
		effect.NoMailboxID = effect.NoMailboxID || q.NoMailboxID
		effect.StoreAfterAppend |= q.StoreAfterAppend
	}
	return effect, names
}

func (q *Quirk) matches(host string, has func(string) bool, id map[string]string) bool {
	for _, h := range q.Hosts {
		if host == h || strings.HasSuffix(host, "."+h) {
			return true
		}
	}
	if has != nil && slices.ContainsFunc(q.Caps, has) {
		return true
	}
	for _, want := range q.ID {
		key, text, _ := strings.Cut(want, "=")
		for k, v := range id {
			if strings.EqualFold(k, key) && strings.Contains(strings.ToLower(v), text) {
				return true
			}
		}
	}
	return false
}
