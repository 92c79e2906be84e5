package imapstore

import (
	"slices"
	"testing"

	"postbag/internal/imaptest"
)

// Real servers are known for what they are, Courier by its greeting alone, and told
// about as they are used.
func TestAboutRealServers(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]struct {
		start func(*testing.T) server
		row   string
		want  About
	}{
		"dovecot": {
			func(t *testing.T) server { return imaptest.StartDovecot(t, imaptest.DovecotOptions{}) }, "Dovecot",
			About{Changes: "QRESYNC", Listing: "LIST-STATUS", Moves: "MOVE", Expunges: true, Several: true, Literals: "LITERAL+", Delimiter: "/"},
		},
		"cyrus": {
			func(t *testing.T) server { return imaptest.StartCyrus(t, imaptest.CyrusOptions{}) }, "Cyrus",
			About{Changes: "QRESYNC", Listing: "LIST-STATUS", Moves: "MOVE", Expunges: true, Several: true, Literals: "LITERAL+", Delimiter: "/"},
		},
		"cyrus, old face": {
			func(t *testing.T) server { return imaptest.StartCyrus(t, imaptest.CyrusOptions{OldFace: true}) }, "Cyrus",
			About{Changes: "QRESYNC", Listing: "LIST-STATUS", Moves: "MOVE", Expunges: true, Several: true, Literals: "LITERAL+", Delimiter: ".", Prefix: "INBOX."},
		},
		"courier": {
			func(t *testing.T) server { return imaptest.StartCourier(t) }, "Courier",
			About{Changes: "listing", Listing: "STATUS", Moves: "COPY", Expunges: true, Delimiter: ".", Prefix: "INBOX."},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newAccount(t, s.start(t), func(c *Config) { c.Connections = 8 }).store
			if _, err := store.List(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := store.About(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if names := store.Quirks(); !slices.Equal(names, []string{s.row}) || len(got.Rows) != 1 || got.Rows[0].Name != s.row {
				t.Errorf("%q, with the ID %q, is known as %q, want %s", got.Greeting, got.ID, names, s.row)
			}
			if got.Greeting == "" || len(got.Capabilities) < 5 || got.Connections != store.Connections() {
				t.Errorf("got %+v", got)
			}
			if !worksAlike(got, s.want) {
				t.Errorf("got  %+v\nwant %+v", got, s.want)
			}
		})
	}
}

func worksAlike(a, b About) bool {
	return a.Changes == b.Changes && a.Listing == b.Listing && a.Moves == b.Moves && a.Expunges == b.Expunges && a.Several == b.Several &&
		a.Literals == b.Literals && a.MaxLine == b.MaxLine && a.Prefix == b.Prefix && a.Delimiter == b.Delimiter
}
