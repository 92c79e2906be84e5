package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// doctor of a Maildir tells its layout, whose it is, and what in it is odd, in words
// and for programs, and changes nothing.
func TestDoctorOfMaildir(t *testing.T) {
	w := newWorld(t, true)
	w.hook([]string{"deliver", "INBOX", "1"})
	if out := w.run([]string{"backup", w.fill("imap://me@ADDR"), "mail", "--tls-ca", "ca.pem", "--password-env", "PW"}); !strings.Contains(out, "1 new") {
		t.Fatal(out)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "mail", "INBOX", "cur", ".odd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "mail", "INBOX", "cur", "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := w.run([]string{"doctor", "mail"})
	for _, want := range []string{"layout       verbatim\n", "owner        me@ADDR\n", "state        DIR/mail/.postbag/state.db\n", "remark       \"INBOX\"", "durability   ", "times        "} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%swant %q in it", text, want)
		}
	}
	line, _, _ := strings.Cut(w.run([]string{"doctor", "mail", "--json"}), "\n")
	var e treeEvent
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Fatal(err)
	}
	if e.Event != "maildir" || e.Layout != "verbatim" || e.Owner != "me@ADDR" || len(e.ID) != 32 || e.State == "" || len(e.Remarks) == 0 || e.InfoSeparator == "" {
		t.Errorf("got %+v", e)
	}

	// A tree of somebody else's has no owner, and gets none.
	for _, part := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(w.dir, "other", part), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	text = w.run([]string{"doctor", "./other"})
	if !strings.Contains(text, "layout       maildir++\n") || !strings.Contains(text, "owner        none: ") || !strings.Contains(text, "state        none: ") {
		t.Errorf("got\n%s", text)
	}
	if entries, err := os.ReadDir(filepath.Join(w.dir, "other")); err != nil || len(entries) != 3 {
		t.Errorf("got %v, %v, want nothing new", entries, err)
	}
}
