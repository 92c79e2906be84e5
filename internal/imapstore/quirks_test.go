package imapstore

import (
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
)

func TestQuirks(t *testing.T) {
	t.Parallel()
	none := func(string) bool { return false }
	caps := func(all ...string) func(string) bool {
		return func(c string) bool { return slices.Contains(all, c) }
	}
	tests := []struct {
		addr string
		has  func(string) bool
		id   map[string]string
		want []string
		most int
		deny string
		no   mail.System
	}{
		{addr: "imap.example.org:993", has: none},
		{addr: "imap.mail.me.com:993", want: []string{"iCloud"}, most: 4, deny: "QRESYNC"},
		{addr: "p01-IMAP.Mail.Me.com.:993", want: []string{"iCloud"}, most: 4, deny: "QRESYNC"},
		{addr: "notimap.mail.me.com.evil.org:993"},
		{addr: "imap.gmail.com:993", want: []string{"Gmail"}, most: 8, no: mail.Deleted},
		{addr: "proxy:993", has: caps("X-GM-EXT-1"), want: []string{"Gmail"}, most: 8, no: mail.Deleted},
		{addr: "mail.example.org:993", has: none, id: map[string]string{"Name": "Dovecot"}, want: []string{"Dovecot"}, most: 4},
		{
			addr: "outlook.office365.com:993", has: none, id: map[string]string{"name": "Microsoft.Exchange.Imap4.Imap4Server", "version": "15.20"},
			want: []string{"Exchange and Microsoft 365"}, most: 2, no: mail.Flagged,
		},
		{
			addr: "[::1]:143", has: none, id: map[string]string{"name": "Microsoft.Exchange.Imap4", "version": "15.00.1497"},
			want: []string{"Exchange 2013", "Exchange and Microsoft 365"}, most: 2, deny: "MOVE", no: mail.Flagged,
		},
		{addr: "imap.mail.yahoo.com:993", want: []string{"Yahoo and AOL"}, most: 2},
	}
	for _, test := range tests {
		q, names := quirksOf(test.addr, test.has, test.id)
		if !slices.Equal(names, test.want) || q.MaxConnections != test.most || strings.Join(q.Deny, " ") != test.deny || q.StoreAfterAppend != test.no {
			t.Errorf("%s %v: got %v %+v, want %v %d %q %v", test.addr, test.id, names, q, test.want, test.most, test.deny, test.no)
		}
	}
}

// Each row says who found out and when, so that it can be checked again, and
// can apply.
func TestQuirkTable(t *testing.T) {
	t.Parallel()
	for i, q := range Quirks() {
		if q.Name == "" || q.Source == "" || len(q.Date) != len("2006-01") {
			t.Errorf("row %d (%s) lacks name, source or date", i, q.Name)
		}
		if len(q.Hosts)+len(q.Caps)+len(q.ID) == 0 {
			t.Errorf("%s applies to nothing", q.Name)
		}
		if i > 0 && strings.ToLower(quirkTable[i-1].Name) >= strings.ToLower(q.Name) {
			t.Errorf("%s is not in order", q.Name)
		}
		for _, s := range append(slices.Clone(q.Hosts), q.ID...) {
			if s != strings.ToLower(s) {
				t.Errorf("%s: %q has to be in lower case", q.Name, s)
			}
		}
		if q.MaxConnections == 0 && len(q.Deny) == 0 && !q.NoSearch && !q.NoMailboxID && q.StoreAfterAppend == 0 {
			t.Errorf("%s has no effect", q.Name)
		}
	}
}
