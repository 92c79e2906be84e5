package imaptest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/mail"
)

// rootedServer is one of the servers that run in a root of their own.
type rootedServer struct {
	name   string
	start  func(*testing.T) (*rooted, func(user string) Target)
	habits Habits
}

var rootedServers = []rootedServer{
	{"cyrus", func(t *testing.T) (*rooted, func(string) Target) {
		c := StartCyrus(t, CyrusOptions{})
		return c.rooted, c.Target
	}, CyrusHabits},
	{"cyrus old face", func(t *testing.T) (*rooted, func(string) Target) {
		c := StartCyrus(t, CyrusOptions{OldFace: true})
		return c.rooted, c.TLSTarget
	}, CyrusHabits},
	{"courier", func(t *testing.T) (*rooted, func(string) Target) {
		c := StartCourier(t)
		return c.rooted, c.Target
	}, CourierHabits},
}

func eachRooted(t *testing.T, test func(*testing.T, rootedServer)) {
	t.Parallel()
	for _, s := range rootedServers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// What is put into one of these servers comes out of it as out of the embedded
// one, by the same names.
func TestRootedServersKeepMail(t *testing.T) {
	eachRooted(t, func(t *testing.T, s rootedServer) {
		_, target := s.start(t)
		samples := slices.DeleteFunc(append(take(demo.Corpus(3, 120)), demo.Torture()...), func(m demo.Sample) bool { return !s.habits.Keeps(m) })
		if len(samples) < 160 {
			t.Fatalf("%d samples are kept, which is too few", len(samples))
		}
		for _, user := range []string{"one", "two"} {
			if n, err := target(user).Fill(slices.Values(samples)); n != len(samples) || err != nil {
				t.Fatalf("filled with %d of %d: %v", n, len(samples), err)
			}
		}
		want := StartEmbedded(t, slices.Values(samples)).Target().MustDump(t)
		got := target("two").MustDump(t)
		for name, box := range got { // Cyrus makes the mailboxes above others
			if _, ok := want[name]; !ok && len(box.Messages) == 0 {
				delete(got, name)
			}
		}
		if diff := Diff(want.Content(), got.Content()); diff != "" {
			t.Errorf("wanted (-) and got (+):\n%s", diff)
		}
	})
}

// The habits are those of the servers. What they alter is what an alteration that
// has a name makes of it, but for a message that Courier cuts off.
func TestHabits(t *testing.T) {
	eachRooted(t, func(t *testing.T, s rootedServer) {
		_, target := s.start(t)
		c, err := Dial(target("one"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		seen := 0
		for i, m := range demo.Torture() {
			m.Mailbox = fmt.Sprintf("Box%d", i)
			fate := fateOf(t, c, m)
			if fate != s.habits.Odd[m.Label] {
				t.Errorf("%s: %q, want %q", m.Label, fate, s.habits.Odd[m.Label])
			}
			if fate != "" {
				seen++
			}
			if s.habits.Keeps(m) && fate != "" {
				t.Errorf("%s should be kept: %q", m.Label, fate)
			}
		}
		if seen != len(s.habits.Odd) {
			t.Errorf("%d samples are odd, want %d", seen, len(s.habits.Odd))
		}
	})
}

// fateOf uploads a sample into a new mailbox, and answers what became of it; ""
// when it was kept.
func fateOf(t *testing.T, c *Client, m demo.Sample) string {
	t.Helper()
	if _, err := c.Do("CREATE " + c.Name(m.Mailbox)); err != nil {
		t.Fatal(err)
	}
	if err := c.Append(m.Mailbox, m.Flags, m.Date, m.Raw); err != nil {
		status, ok := err.(*StatusError)
		if !ok {
			t.Fatal(err)
		}
		if strings.HasPrefix(status.Reply, "R") { // in place of the continuation, with its tag
			_, status.Reply, _ = strings.Cut(status.Reply, " ")
		}
		return status.Reply
	}
	box, err := c.dumpBox(m.Mailbox)
	if err != nil || len(box.Messages) != 1 {
		t.Fatalf("%s: %+v, %v", m.Label, box, err)
	}
	got := box.Messages[0]
	switch {
	case got.Digest != sha256.Sum256(m.Raw):
		altering := mail.NewAltering()
		for chunk := range slices.Chunk(m.Raw, 7) {
			altering.Write(chunk)
		}
		how, known := altering.Find(got.Digest)
		t.Logf("%s: %s", m.Label, how)
		if !known && m.Label != "1000 nested multiparts" {
			t.Errorf("%s: no alteration makes this of it", m.Label)
		}
		return "altered"
	case !got.Flags.Equal(m.Flags):
		return "other flags: " + got.Flags.String()
	case !got.Date.Equal(m.Date) && time.Since(got.Date).Abs() < time.Hour:
		return "date of today"
	case !got.Date.Equal(m.Date):
		return "another date"
	}
	return ""
}

// Nothing is left of a server after the test: no process, no file.
func TestRootedServersLeaveNothing(t *testing.T) {
	eachRooted(t, func(t *testing.T, s rootedServer) {
		var root string
		var pids []int
		t.Run("inner", func(t *testing.T) {
			server, target := s.start(t)
			c, err := Dial(target("one")) // a session with a client
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			if _, err := c.Do("SELECT INBOX"); err != nil {
				t.Error(err)
			}
			if err := c.Append("INBOX", mail.Flags{}, time.Unix(1e9, 0), []byte("Subject: x\r\n\r\ny\r\n")); err != nil {
				t.Error(err)
			}
			root = server.root
			for _, d := range server.daemons {
				pids = append(append(pids, d.cmd.Process.Pid), descendants(d.cmd.Process.Pid)...)
			}
			if len(pids) < 2 {
				t.Errorf("%d processes, want a master and a session", len(pids))
			}
		})
		if root == "" {
			t.Skip("the server is not installed")
		}
		if _, err := os.Stat(root); err == nil {
			t.Errorf("%s is still there", root)
		}
		links, err := filepath.Glob("/proc/[0-9]*/root")
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links { // of servers' helpers, which are no descendants
			if at, err := os.Readlink(link); err == nil && strings.HasPrefix(at, root) {
				t.Errorf("%s is %s", link, at)
			}
		}
		for _, pid := range pids {
			if cmdline, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "cmdline")); err == nil && len(cmdline) > 0 {
				t.Errorf("process %d lives: %q", pid, cmdline)
			}
		}
	})
}

// What a test left that was killed goes, and what is in use stays.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{"courier-run-1": 25 * time.Hour, "cyrus-run-2": time.Hour, "cyrus": 50 * time.Hour} {
		if err := os.MkdirAll(filepath.Join(dir, name, "usr"), 0o755); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	sweep(dir)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(dir, "cyrus"), filepath.Join(dir, "cyrus-run-2")}; !slices.Equal(left, want) {
		t.Errorf("got %q left, want %q", left, want)
	}
}
