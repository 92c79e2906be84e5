package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// mailUser changes a tree of Maildirs as mail readers do, by the rules of Maildir
// and of Dovecot's keywords, and by nothing of the program's.
type mailUser struct {
	root string
	made atomic.Int64 // base names that were given
}

func (r *mailUser) box(name string) string { return filepath.Join(r.root, filepath.FromSlash(name)) }

// base is a name that no file has had.
func (r *mailUser) base() string { return fmt.Sprintf("1700000000.R%d.reader", r.made.Add(1)) }

// create makes a mailbox.
func (r *mailUser) create(name string) error {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(r.box(name), sub), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// rename renames the directory of a mailbox.
func (r *mailUser) rename(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(r.box(to)), 0o700); err != nil {
		return err
	}
	return os.Rename(r.box(from), r.box(to))
}

// info is what follows the base name of a message in cur/. A keyword that has no
// letter yet gets one.
func (r *mailUser) info(box string, f mail.Flags) (string, error) {
	var upper, lower []byte
	for letter, name := range letters {
		if one := mail.ParseFlags(name); f.Intersect(one) == one {
			upper = append(upper, letter)
		}
	}
	path := filepath.Join(r.box(box), "dovecot-keywords")
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	known := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	known = slices.DeleteFunc(known, func(line string) bool { return line == "" })
	added := false
	for _, word := range f.Keywords.Words() {
		if strings.EqualFold(word, "$Forwarded") {
			continue
		}
		number, free := -1, 0
		for _, line := range known {
			text, has, _ := strings.Cut(line, " ")
			n, err := strconv.Atoi(text)
			if err != nil {
				return "", err
			}
			if free = max(free, n+1); strings.EqualFold(has, word) {
				number = n
			}
		}
		if number < 0 {
			number = free
			known = append(known, fmt.Sprintf("%d %s", number, word))
			added = true
		}
		lower = append(lower, 'a'+byte(number))
	}
	if added {
		if err := os.WriteFile(path+".reader", []byte(strings.Join(known, "\n")+"\n"), 0o600); err != nil {
			return "", err
		}
		if err := os.Rename(path+".reader", path); err != nil {
			return "", err
		}
	}
	slices.Sort(upper)
	slices.Sort(lower)
	return ":2," + string(upper) + string(lower), nil
}

// deliver puts a message into a mailbox: into new/ when it has no flags and fresh
// says so.
func (r *mailUser) deliver(box, base string, file []byte, f mail.Flags, date time.Time, fresh bool) error {
	tmp := filepath.Join(r.box(box), "tmp", base)
	if err := os.WriteFile(tmp, file, 0o600); err != nil {
		return err
	}
	if err := os.Chtimes(tmp, date, date); err != nil {
		return err
	}
	if fresh && f.IsZero() {
		return os.Rename(tmp, filepath.Join(r.box(box), "new", base))
	}
	info, err := r.info(box, f)
	if err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(r.box(box), "cur", base+info))
}

// setFlags renames the file of a message, which has then been seen to be there:
// it goes to cur/.
func (r *mailUser) setFlags(box string, m stored, f mail.Flags) error {
	info, err := r.info(box, f)
	if err != nil {
		return err
	}
	return os.Rename(m.path, filepath.Join(r.box(box), "cur", keyOf(m.path)+info))
}

// move renames the file of a message into another mailbox, under base.
func (r *mailUser) move(m stored, to, base string) error {
	if filepath.Base(filepath.Dir(m.path)) == "new" && m.Flags.IsZero() {
		return os.Rename(m.path, filepath.Join(r.box(to), "new", base))
	}
	info, err := r.info(to, m.Flags)
	if err != nil {
		return err
	}
	return os.Rename(m.path, filepath.Join(r.box(to), "cur", base+info))
}

// fileOf is a message as a program that delivers to a Maildir writes it, with LF;
// or with crlf as it came.
func fileOf(wire []byte, crlf bool) []byte {
	if crlf {
		return wire
	}
	return bytes.ReplaceAll(wire, []byte("\r\n"), []byte("\n"))
}

// byDate is the messages in the order of their dates, in which they were filled
// in.
func byDate(list []stored) []stored {
	slices.SortFunc(list, func(a, b stored) int { return a.Date.Compare(b.Date) })
	return list
}

// imapActor is another client of the account, that changes it.
type imapActor struct {
	*imaptest.Client
	selected string
}

// in sends commands about the messages of a mailbox.
func (c *imapActor) in(box string, commands ...string) error {
	if c.selected != box {
		commands = slices.Insert(commands, 0, "SELECT "+c.Name(box))
		c.selected = box
	}
	return c.send(commands...)
}

func (c *imapActor) send(commands ...string) error {
	for _, command := range commands {
		if _, err := c.Do(command); err != nil {
			return err
		}
	}
	return nil
}

// rest leaves no mailbox selected: Dovecot ends a session whose mailbox another
// renames.
func (c *imapActor) rest() error {
	if c.selected == "" {
		return nil
	}
	c.selected = ""
	if !c.Offers("UNSELECT") {
		// CLOSE would expunge, and a SELECT that fails selects nothing (RFC 3501, 6.3.1).
		if err := c.send(`EXAMINE "no such mailbox"`); err == nil {
			return errors.New("there is such a mailbox")
		}
		return nil
	}
	return c.send("UNSELECT")
}

// names sends a command about the names of mailboxes.
func (c *imapActor) names(verb string, names ...string) error {
	if err := c.rest(); err != nil {
		return err
	}
	for _, n := range names {
		verb += " " + c.Name(n)
	}
	return c.send(verb)
}

func (c *imapActor) deliver(box string, wire []byte, f mail.Flags, date time.Time) error {
	return c.Append(box, f, date, wire)
}

func (c *imapActor) setFlags(box string, uid uint32, d mail.FlagDelta) error {
	var commands []string
	if !d.Add.IsZero() {
		commands = append(commands, fmt.Sprintf("UID STORE %d +FLAGS.SILENT (%s)", uid, d.Add))
	}
	if !d.Remove.IsZero() {
		commands = append(commands, fmt.Sprintf("UID STORE %d -FLAGS.SILENT (%s)", uid, d.Remove))
	}
	return c.in(box, commands...)
}

func (c *imapActor) remove(box string, uid uint32) error {
	return c.in(box, fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid), fmt.Sprintf("UID EXPUNGE %d", uid))
}

// move moves a message, as clients do that know MOVE, or as the others do.
func (c *imapActor) move(box string, uid uint32, to string, byCopy bool) error {
	if !byCopy && c.Offers("MOVE") {
		return c.in(box, fmt.Sprintf("UID MOVE %d %s", uid, c.Name(to)))
	}
	if err := c.copy(box, uid, to); err != nil {
		return err
	}
	return c.remove(box, uid)
}

func (c *imapActor) copy(box string, uid uint32, to string) error {
	return c.in(box, fmt.Sprintf("UID COPY %d %s", uid, c.Name(to)))
}

// must fails the test at once when something that others do does not work.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
