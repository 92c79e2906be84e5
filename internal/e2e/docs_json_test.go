package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-imap/v2"

	"postbag/internal/demo"
)

// documented are the fields of one object of --json: true when it is always
// there.
type documented map[string]bool

// documentedEvents reads docs/json.md: the fields of each event, by its name, and
// for an event of one command by both ("mailbox, of backup").
func documentedEvents(t testing.TB) map[string]documented {
	t.Helper()
	events := map[string]documented{}
	heading := regexp.MustCompile(`^## (\w+(?:, of \w+)?)\n`)
	field := regexp.MustCompile("`([a-z_.\\[\\]]+)`(\\?)?")
	now := ""
	for line := range strings.Lines(read(t, filepath.Join(root, "docs", "json.md"))) {
		if m := heading.FindStringSubmatch(line); m != nil {
			now = m[1]
			events[now] = documented{}
		}
		if now == "" || !strings.HasPrefix(line, "| `") {
			continue
		}
		cell, _, _ := strings.Cut(line[1:], "|")
		for _, m := range field.FindAllStringSubmatch(cell, -1) {
			events[now][m[1]] = m[2] == ""
		}
	}
	for _, name := range []string{"summary", "error", "status, of status"} {
		if len(events[name]) == 0 {
			t.Fatalf("docs/json.md does not describe %s", name)
		}
	}
	status := events["status, of status"] // says "as in summary"
	if delete(status, "problems[]"); status["problems"] {
		for name, always := range events["summary"] {
			if strings.HasPrefix(name, "problems[]") {
				status[name] = always
			}
		}
	}
	return events
}

// describes are the fields of an event.
func describes(events map[string]documented, event, command string) documented {
	if event == "account" {
		event = "summary"
	}
	if d, ok := events[event]; ok {
		return d
	}
	switch { // described together
	case command == "sync" || command == "migrate" || command == "restore" || command == "prune" && event == "mailbox":
		command = "backup"
	case command == "prune" && event == "trashed":
		command = "trash"
	}
	return events[event+", of "+command]
}

// flatten lists the fields of an object as the document names them.
func flatten(prefix string, v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			name := prefix + key
			_, object := value.(map[string]any)
			inWords := name == "runs[].summary" || name == "summary"
			if !object || name == "verified" || inWords {
				into[name] = true
			}
			if !inWords {
				flatten(name+".", value, into)
			}
		}
	case []any:
		for _, value := range v {
			flatten(strings.TrimSuffix(prefix, ".")+"[].", value, into)
		}
	}
}

// seen are the objects that were compared with the document.
type seen struct {
	t      *testing.T
	events map[string]documented
	fields map[string]map[string]bool // that were there, by event
	writes map[string][]string        // the events of each command, as docs/scripting.md lists them
}

// documentedWrites reads the list of commands in docs/scripting.md: which objects
// each of them writes.
func documentedWrites(t testing.TB) map[string][]string {
	t.Helper()
	word := regexp.MustCompile("`([a-z ]+)`")
	writes := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| ([^|]*) \\| (?:yes|no) \\|$").FindAllStringSubmatch(read(t, filepath.Join(root, "docs", "scripting.md")), -1) {
		for _, command := range word.FindAllStringSubmatch(row[1], -1) {
			for _, event := range word.FindAllStringSubmatch(row[2], -1) {
				writes[command[1]] = append(writes[command[1]], event[1])
			}
		}
	}
	if len(writes) < 10 {
		t.Fatalf("got %v", writes)
	}
	return writes
}

// compare compares what a command wrote with what is documented of it.
func (s *seen) compare(command, stdout string) {
	s.t.Helper()
	for line := range strings.Lines(stdout) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			s.t.Errorf("%s: %v: %q", command, err, clip(line))
			continue
		}
		event := fmt.Sprint(object["event"])
		name := command
		if s.writes[name] == nil { // one of several
			name = fmt.Sprint(summaryOf(stdout)["command"])
		}
		if !slices.Contains(append(s.writes[name], "summary"), event) {
			s.t.Errorf("docs/scripting.md does not say that %s writes %q", name, event)
		}
		if event == "restored" || event == "emptied" {
			event = "trashed" // they are described together
		}
		want := describes(s.events, event, command)
		if want == nil {
			s.t.Errorf("%s: nobody describes the event %q", command, event)
			continue
		}
		got := map[string]bool{}
		flatten("", object, got)
		for name := range got {
			if _, ok := want[name]; !ok {
				s.t.Errorf("%s: %s: the field %q is not described", command, event, name)
			}
		}
		for name, always := range want {
			parent, _, inList := strings.Cut(name, "[]")
			list, _ := object[parent].([]any)
			outer, _, nested := strings.Cut(name, ".")
			if always && !got[name] && !(inList && len(list) == 0) && !(nested && !inList && object[outer] == nil && !want[outer]) {
				s.t.Errorf("%s: %s: the field %q is missing in %s", command, event, name, line)
			}
		}
		key := event
		if s.events[event] == nil {
			key += ", of " + command
		}
		if s.fields[key] == nil {
			s.fields[key] = map[string]bool{}
		}
		maps.Copy(s.fields[key], got)
	}
}

// summaryOf is the last object.
func summaryOf(stdout string) (object map[string]any) {
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	_ = json.Unmarshal([]byte(lines[len(lines)-1]), &object) // what is no JSON is told elsewhere
	return object
}

// Each object that a command writes has the fields that docs/json.md says, no
// more and no fewer.
func TestDocumentedJSON(t *testing.T) {
	t.Parallel()
	var refuse atomic.Bool
	r := newReader(t, func(_, verb, mailbox string) error {
		if refuse.Load() && verb == "EXAMINE" && mailbox == "INBOX" {
			return &imap.Error{Type: imap.StatusResponseTypeNo, Text: "not today"}
		}
		return nil
	})
	s := &seen{t: t, events: documentedEvents(t), fields: map[string]map[string]bool{}, writes: documentedWrites(t)}
	run := func(command string, want int) {
		t.Helper()
		stdout, stderr, err := r.sh("postbag " + command + " --json")
		code := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != want {
			t.Errorf("postbag %s: got exit code %d, want %d\n%s%s", command, code, want, clip(stdout), clip(stderr))
		}
		s.compare(strings.Fields(command)[0], stdout)
	}
	one := fmt.Sprintf("[accounts.work]\nserver = 'imaps://%s@%s'\nmaildir = '~/mail/work'\npassword.command = 'pass show mail'\n", docUser, r.server.TLSAddr())
	two := one + fmt.Sprintf("[accounts.bad]\nserver = 'imaps://you@%s'\nmaildir = '~/mail/bad'\npassword.command = 'echo wrong'\n", r.server.TLSAddr())
	r.write(".config/postbag/config.toml", 0o600, one)
	run("version", 0)
	run("mailboxes work", 0)
	r.write("known.toml", 0o600, one+"provider = 'yahoo'\n")
	run("doctor work --config known.toml", 0)
	run("status", 0)
	run("backup --dry-run", 0)
	run("backup --smaller 4K", 0)
	run("status -v", 0)
	run("mailboxes ~/mail/work", 0)
	run("doctor ~/mail/work", 0)
	run("verify --smaller 4K --deep", 0)
	account := r.server.Account(docUser)
	if err := account.Expunge("INBOX", account.Messages("INBOX")[0].UID); err != nil {
		t.Fatal(err)
	}
	add := func(subject string) {
		t.Helper()
		if _, err := account.Add(demo.Sample{Mailbox: "INBOX", Raw: []byte("Subject: " + subject + "\r\n\r\ntext\r\n")}); err != nil {
			t.Fatal(err)
		}
	}
	add("new")
	run("verify", 3)
	run("backup", 0)
	if err := account.Expunge("INBOX", account.Messages("INBOX")[0].UID); err != nil {
		t.Fatal(err)
	}
	run("backup --mirror", 0)
	run(fmt.Sprintf("migrate work imaps://you@%s --to-password-command 'pass show mail' --dry-run", r.server.TLSAddr()), 0)
	run(fmt.Sprintf("restore ~/mail/work imaps://you@%s --password-command 'pass show mail' --dry-run", r.server.TLSAddr()), 0)
	run("list work", 0)
	run(fmt.Sprintf("list imaps://%s@%s --password-command 'pass show mail'", docUser, r.server.TLSAddr()), 0)
	run("history work", 0)
	run("prune work --keep-deleted 0 --dry-run", 0)
	run("state show work", 0)
	run("state check work", 0)
	run("trash list work", 0)
	run("trash restore work --all --dry-run", 0)
	run("trash empty work --dry-run", 0)
	run("trash restore work --all", 0)
	file := filepath.Join(r.home, "mail", "work", ".postbag", "state.db")
	// Each of them: what SQLite deleted is still in the file.
	data := bytes.ReplaceAll([]byte(read(t, file)), []byte("INBOX"), []byte("iNBOX"))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	run("state check work", 3)
	run("state rebuild work", 0)
	r.write(".config/postbag/config.toml", 0o600, two)
	run("backup", 5)
	run("status", 0)
	run("backup nobody", 2)
	refuse.Store(true)
	run("verify work", 3)
	add("newer")
	run("backup work", 3)
	for _, name := range slices.Sorted(maps.Keys(s.events)) {
		for _, f := range slices.Sorted(maps.Keys(s.events[name])) {
			if s.fields[name] == nil || s.events[name][f] && !strings.Contains(f, "problems[]") && !s.fields[name][f] {
				t.Errorf("%s: %s was never seen", name, f)
			} else if !s.fields[name][f] {
				t.Logf("%s: %s was not seen here", name, f)
			}
		}
	}
}
