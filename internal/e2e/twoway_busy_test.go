package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

var allOf = regexp.MustCompile(`ESEARCH .* ALL ([0-9:,]+)`)

// anyUID picks one of those that a search with RETURN (ALL) found; 0 for none.
func anyUID(random *rand.Rand, lines []imaptest.Response) uint32 {
	for _, line := range lines {
		found := allOf.FindStringSubmatch(line.Text)
		if found == nil {
			continue
		}
		ranges := strings.Split(found[1], ",")
		first, last, several := strings.Cut(ranges[random.IntN(len(ranges))], ":")
		from, _ := strconv.Atoi(first)
		to := from
		if several {
			to, _ = strconv.Atoi(last)
		}
		return uint32(from + random.IntN(to-from+1))
	}
	return 0
}

// converge syncs until a sync has nothing more to do, which may take two.
func (w *twoWay) converge(t testing.TB) imaptest.Dump {
	t.Helper()
	var c *call
	for range 3 {
		if c = w.sync(t, "--force-deletes", "--json").want(t, 0); !strings.Contains(c.stdout, `"mailbox"`) {
			break
		}
	}
	d := w.settled(t)
	if t.Failed() {
		t.Log(c)
	}
	return d
}

// While a mail reader works on the Maildir and another client on the server, one
// sync after another runs: when both stop, both sides become equal, and nothing
// was lost that nobody removed, nor doubled.
func TestTwoWayOthersAtWork(t *testing.T) {
	t.Parallel()
	boxes := []string{"INBOX", "Work", "Archive", "Sent"}
	for _, test := range []struct {
		name           string
		reader, client bool
		whose          [2]share
	}{
		{"reader", true, false, [2]share{both, both}},
		{"client", false, true, [2]share{both, both}},
		{"each its own messages", true, true, [2]share{0, 1}},
		{"both the same messages", true, true, [2]share{both, both}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.whose[0] == both && test.whose[1] == both && test.reader && test.client && !long() {
				t.Skip("takes long: POSTBAG_LONG=1")
			}
			w := newTwoWay(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
			if _, err := w.target.Fill(brief("one", 300, boxes...)); err != nil {
				t.Fatal(err)
			}
			w.sync(t).want(t, 0)
			l := newLedger(w.settled(t))
			var did [2]atomic.Int64
			var actors []func(*rand.Rand) error
			if test.reader {
				actors = append(actors, func(random *rand.Rand) error {
					did[0].Add(1)
					time.Sleep(time.Duration(random.IntN(2000)) * time.Microsecond)
					return w.reader.act(random, l, boxes, test.whose[0])
				})
			}
			if test.client {
				actors = append(actors, func(random *rand.Rand) error {
					did[1].Add(1)
					return w.server.act(random, l, boxes, test.whose[1])
				})
			}
			stop := busy(t, actors...)
			syncs, codes := 0, map[int]int{}
			for begun := time.Now(); syncs < 6 || time.Since(begun) < minutes(t); syncs++ {
				c := w.sync(t, "--force-deletes")
				if codes[c.code]++; c.code != 0 && c.code != 3 {
					t.Errorf("got exit code %d\n%s", c.code, c)
					break
				}
			}
			stop()
			must(t, w.server.rest())
			l.check(t, w.converge(t))
			t.Logf("%d syncs with the exit codes %v, %d edits of the reader and %d of the client", syncs, codes, did[0].Load(), did[1].Load())
		})
	}
}

// A reader that renames ten thousand files a second hides most of them from
// anybody who lists the directory. None counts as removed.
func TestTwoWayStormOfRenames(t *testing.T) {
	t.Parallel()
	w := newTwoWay(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
	if _, err := w.target.Fill(brief("one", 2000, "INBOX")); err != nil {
		t.Fatal(err)
	}
	w.sync(t).want(t, 0)
	l := newLedger(w.settled(t))
	var renames atomic.Int64
	storm := func(random *rand.Rand) error {
		cur := filepath.Join(w.dir, "INBOX", "cur")
		for _, sub := range []string{"cur", "new"} {
			entries, err := os.ReadDir(filepath.Join(w.dir, "INBOX", sub))
			if err != nil {
				return err
			}
			for _, e := range entries {
				key, info, _ := strings.Cut(e.Name(), ":2,")
				letters := ":2," + strings.Trim(info, "S")
				if !strings.Contains(info, "S") {
					letters += "S"
				}
				if err := gone(os.Rename(filepath.Join(w.dir, "INBOX", sub, e.Name()), filepath.Join(cur, key+letters))); err != nil {
					return err
				}
				renames.Add(1)
			}
		}
		return nil
	}
	begun := time.Now()
	stop := busy(t, storm)
	for i := range 4 {
		for n := range 5 {
			wire := l.compose(fmt.Sprint("storm", n))
			must(t, w.server.deliver("INBOX", wire, mail.Flags{}, dateOf(wire)))
		}
		must(t, w.server.in("INBOX", fmt.Sprintf(`UID STORE %d:%d +FLAGS.SILENT (\Flagged)`, 100*i+1, 100*i+50)))
		if c := w.sync(t); c.code != 0 && c.code != 3 {
			t.Errorf("got exit code %d\n%s", c.code, c)
		}
	}
	stop()
	t.Logf("%.0f renames a second", float64(renames.Load())/time.Since(begun).Seconds())
	must(t, w.server.rest())
	l.check(t, w.converge(t))
	if kept := w.retained(t); len(kept) > 0 {
		t.Errorf("%d messages were removed", len(kept))
	}
}
