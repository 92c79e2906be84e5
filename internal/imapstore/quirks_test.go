package imapstore

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
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
	exchange := "The Microsoft Exchange IMAP4 service is ready."
	tests := []struct {
		peer peer
		want []string
		most int
		deny string
		no   mail.System
	}{
		{peer: peer{addr: "imap.example.org:993", has: none}},
		{peer: peer{addr: "imap.mail.me.com:993"}, want: []string{"iCloud"}, deny: "QRESYNC"},
		{peer: peer{addr: "p01-IMAP.Mail.Me.com.:993"}, want: []string{"iCloud"}, deny: "QRESYNC"},
		{peer: peer{addr: "notimap.mail.me.com.evil.org:993"}},
		{peer: peer{addr: "imap.gmail.com:993"}, want: []string{"Gmail"}, most: 8, no: mail.Deleted},
		{peer: peer{addr: "proxy:993", has: caps("X-GM-EXT-1")}, want: []string{"Gmail"}, most: 8, no: mail.Deleted},
		{peer: peer{addr: "mail.example.org:993", has: none, id: map[string]string{"Name": "Dovecot"}}, want: []string{"Dovecot"}, most: 4},
		{peer: peer{addr: "mail.example.org:993", greeting: "Dovecot (Debian) ready."}, want: []string{"Dovecot"}, most: 4},
		{peer: peer{addr: "mail.example.org:993", greeting: "Courier-IMAP ready. Copyright 1998-2022 Double Precision, Inc."}, want: []string{"Courier"}, most: 4},
		{
			peer: peer{addr: "outlook.office365.com:993", has: caps("ID"), greeting: exchange, id: map[string]string{"name": "Microsoft.Exchange.Imap4.Imap4Server", "version": "15.20"}},
			want: []string{"Microsoft 365", "Exchange"}, most: 2, no: mail.Flagged,
		},
		{
			peer: peer{addr: "[::1]:143", has: caps("ID"), id: map[string]string{"name": "Microsoft.Exchange.Imap4", "version": "15.00.1497"}},
			want: []string{"Exchange", "Exchange 2013"}, most: 8, deny: "MOVE", no: mail.Flagged,
		},
		{peer: peer{addr: "mail.example.org:993", greeting: exchange, has: none}, want: []string{"Exchange", "Exchange 2010 and before"}, most: 8, no: mail.Flagged},
		{peer: peer{addr: "mail.example.org:993", greeting: exchange}, want: []string{"Exchange"}, most: 8, no: mail.Flagged}, // not known yet
		{peer: peer{addr: "mail.example.org:993", preset: "EXCHANGE"}, want: []string{"Exchange"}, most: 8, no: mail.Flagged},
		{peer: peer{addr: "outlook.office365.com:993", preset: "outlook"}, want: []string{"Outlook.com", "Microsoft 365"}, most: 2},
		{peer: peer{addr: "imap.mail.yahoo.com:993"}, want: []string{"Yahoo and AOL"}, most: 2, no: mail.Deleted},
	}
	for _, test := range tests {
		e := quirksOf(quirkTable, test.peer)
		if !slices.Equal(e.names(), test.want) || e.MaxConnections != test.most || strings.Join(e.Deny, " ") != test.deny || e.StoreAfterAppend != test.no {
			t.Errorf("%+v: got %v %+v, want %v %d %q %v", test.peer, e.names(), e.Quirk, test.want, test.most, test.deny, test.no)
		}
	}
}

// Each row says of all that it claims who found out and when, so that it can be
// checked again, and can apply.
func TestQuirkTable(t *testing.T) {
	t.Parallel()
	presets := map[string]bool{}
	for _, rows := range [][]Quirk{providerRows, serverRows} {
		if !slices.IsSortedFunc(rows, func(a, b Quirk) int { return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) }) {
			t.Errorf("the rows from %s on are not in order", rows[0].Name)
		}
	}
	for _, q := range Quirks() {
		if len(q.Hosts)+len(q.Caps)+len(q.ID)+len(q.Greeting)+len(q.Presets) == 0 {
			t.Errorf("%s applies to nothing", q.Name)
		}
		for _, s := range slices.Concat(q.Hosts, q.ID, q.Greeting, q.BadNames) {
			if s != strings.ToLower(s) {
				t.Errorf("%s: %q has to be in lower case", q.Name, s)
			}
		}
		for _, p := range q.Presets {
			if p.Name == "" || presets[p.Name] || p.Name != strings.ToLower(p.Name) || strings.ContainsAny(p.Name, `:/\@ `) || p.Name == "maildir" {
				t.Errorf("%s: %q is no name for a preset, or one that is taken", q.Name, p.Name)
			}
			presets[p.Name] = true
			if len(p.Domains) > 0 && PresetFor("me@"+strings.ToUpper(p.Domains[0])) != p.Name {
				t.Errorf("%s does not go with %s", p.Domains[0], p.Name)
			}
		}
		for _, text := range append(slices.Clone(q.Advice), q.Login) {
			if strings.ContainsAny(text, "\r\n\t") || strings.HasPrefix(text, " ") {
				t.Errorf("%s: %q is not one line", q.Name, text)
			}
		}
		claims := claimsOf(q)
		if len(claims) == 0 {
			t.Errorf("%s has no effect", q.Name)
		}
		proved := map[string]bool{}
		for _, s := range q.Sources {
			if s.Where == "" || len(s.Date) != len("2006-01") {
				t.Errorf("%s: %+v lacks a place or a date", q.Name, s)
			}
			for _, field := range strings.Fields(s.For) {
				proved[field] = true
				if !slices.Contains(claims, field) {
					t.Errorf("%s: a source speaks for %s, of which the row says nothing", q.Name, field)
				}
			}
		}
		for _, field := range claims {
			if !proved[field] {
				t.Errorf("%s: nobody speaks for %s", q.Name, field)
			}
		}
	}
}

// claimsOf names the fields in which a row says something that may be wrong: all but
// its name, how it is recognised, and who says so.
func claimsOf(q Quirk) (fields []string) {
	v := reflect.ValueOf(q)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if !slices.Contains([]string{"Name", "Hosts", "Caps", "ID", "Greeting", "Lacks", "Sources"}, name) && !v.Field(i).IsZero() {
			fields = append(fields, name)
		}
	}
	return fields
}

// What shows a server for what it is works by itself, each of a row's ways.
func TestQuirkMatches(t *testing.T) {
	t.Parallel()
	for _, q := range Quirks() {
		var peers []peer
		none := func(string) bool { return false }
		for _, h := range q.Hosts {
			peers = append(peers, peer{addr: h + ":993"}, peer{addr: "a." + h + ":993"})
		}
		for _, c := range q.Caps {
			peers = append(peers, peer{addr: "x:993", has: func(have string) bool { return have == c }})
		}
		for _, id := range q.ID {
			key, text, _ := strings.Cut(id, "=")
			peers = append(peers, peer{addr: "x:993", has: none, id: map[string]string{key: "The " + strings.ToUpper(text) + " server"}})
		}
		for _, text := range q.Greeting {
			peers = append(peers, peer{addr: "x:993", has: none, greeting: "IMAP4rev1 " + strings.ToUpper(text) + " ready"})
		}
		for _, p := range q.Presets {
			peers = append(peers, peer{addr: "x:993", preset: p.Name})
		}
		for _, p := range peers {
			if e := quirksOf(quirkTable, p); !slices.Contains(e.names(), q.Name) {
				t.Errorf("%+v is known as %v, not as %s", p, e.names(), q.Name)
			}
		}
	}
}

// The table is the only place that knows a provider's hosts.
func TestHostsAreInTheTableOnly(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(d.Name(), "quirks_") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, q := range Quirks() {
			for _, h := range q.Hosts {
				if strings.Contains(string(text), h) {
					t.Errorf("%s knows %s", path, h)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text    string
		longest int
		crlf    bool
	}{
		{"", 0, false}, {"\r\n", 0, true}, {"abc", 3, false}, {"abc\n", 3, false}, {"abc\r\n", 3, true}, {"abc\r", 3, false},
		{"a\r\nabcde\r\nab\r\n", 5, true}, {"a\r\nabcde", 5, false}, {"a\rb\r\r\n", 4, true}, {"\n\n", 0, false}, {"a\r\n\n", 1, false},
	}
	for _, test := range tests {
		for size := 1; size <= len(test.text)+1; size++ {
			var l lines
			for chunk := range slices.Chunk([]byte(test.text), size) {
				l.take(chunk)
			}
			if l.longest != test.longest || l.crlf != test.crlf || l.total != int64(len(test.text)) {
				t.Errorf("%q in pieces of %d: got %d, %v, want %d, %v", test.text, size, l.longest, l.crlf, test.longest, test.crlf)
			}
		}
	}
}
