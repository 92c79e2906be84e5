package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// What may be done is done, and nothing else: each side does one thing of each
// kind, and each preset and each list of words carries over what it names. A side
// that may not be touched is not: of the server nothing is asked that could write,
// and in the Maildir no file, no name and no time changes.
func TestPolicies(t *testing.T) {
	t.Parallel()
	const all, kept = "new flags deletes moves mailboxes", "new flags moves mailboxes"
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	for _, test := range []struct {
		name              string
		args              string
		toServer, toLocal string
	}{
		{"sync", "", all, all},
		{"preset sync", "--policy sync", all, all},
		{"backup", "--policy backup", "", kept},
		{"mirror", "--policy mirror", "", all},
		{"push", "--policy push", kept, ""},
		{"server untouched", "--to-server none", "", all},
		{"Maildir untouched", "--to-maildir none", all, ""},
		{"few words", "--to-server new,flags", "new flags", all},
		{"push and few words", "--policy push --to-server flags", "flags", ""},
		{"only deletes", "--to-server deletes --to-maildir deletes", "deletes", "deletes"},
		{"only moves", "--to-server moves --to-maildir moves,mailboxes", "moves", "moves mailboxes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newPolicyWorld(t, dovecot)
			args := strings.Fields(test.args)
			p.log.Reset()
			server, files := p.target.MustDump(t).String(), snapshotMail(t, p.dir)
			for _, more := range [][]string{{"--dry-run"}, nil, nil} {
				c := p.run(t, p.pair("sync", slices.Concat(args, more)...)...).want(t, 0)
				if len(more) > 0 || test.toServer == "" {
					p.log.Assert(t, imaptest.ReadOnly)
					if diff := imaptest.Diff(server, p.target.MustDump(t).String()); diff != "" {
						t.Errorf("the server was changed:\n%s\n%s", clip(diff), c)
					}
				}
				if len(more) > 0 || test.toLocal == "" {
					if diff := imaptest.Diff(files, snapshotMail(t, p.dir)); diff != "" {
						t.Errorf("the Maildir was changed:\n%s\n%s", clip(diff), c)
					}
				}
			}
			if test.toServer == "" {
				checkWords(t, p.log)
			}
			p.checkSide(t, "server", p.target.MustDump(t), "here", strings.Fields(test.toServer))
			p.checkSide(t, "Maildir", treeDump(t, p.dir), "there", strings.Fields(test.toLocal))
			p.run(t, p.pair("sync", append(args, "--json")...)...).want(t, 0).unchanged(t)
			p.checkState(t)
		})
	}
}

// policyWorld is an account of which both sides have done something of each kind
// since they were equal.
type policyWorld struct {
	*twoWay
	// of each kind of change the message that it was made to, by the side that made
	// it: "here" in the Maildir, "there" on the server.
	was map[string]mail.Digest
}

func newPolicyWorld(t *testing.T, dovecot *imaptest.Dovecot) *policyWorld {
	t.Helper()
	p := &policyWorld{newTwoWay(t, dovecot), map[string]mail.Digest{}}
	if _, err := p.target.Fill(into(brief("m", 50, "INBOX"), "INBOX", "Work")); err != nil {
		t.Fatal(err)
	}
	p.sync(t).want(t, 0)
	inbox := byDate(readTree(t, p.dir, true)["INBOX"])
	for i, name := range []string{"flags there", "deletes there", "moves there", "flags here", "deletes here", "moves here"} {
		p.was[name] = inbox[i].Digest
	}
	uid := map[mail.Digest]uint32{}
	for _, m := range p.target.MustDump(t)["INBOX"].Messages {
		uid[m.Digest] = m.UID
	}
	c, r := p.server, p.reader
	must(t, c.setFlags("INBOX", uid[inbox[0].Digest], mail.FlagDelta{Add: mail.Flags{System: mail.Flagged}}))
	must(t, c.remove("INBOX", uid[inbox[1].Digest]))
	must(t, c.move("INBOX", uid[inbox[2].Digest], "Work", false))
	must(t, c.names("CREATE", "Made there"))
	must(t, r.setFlags("INBOX", inbox[3], mail.Flags{System: mail.Flagged}))
	must(t, removeFile(inbox[4]))
	must(t, r.move(inbox[5], "Work", keyOf(inbox[5].path)))
	must(t, r.create("Made here"))
	date := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	must(t, c.deliver("INBOX", []byte("Message-ID: <there@example.org>\r\n\r\nthere\r\n"), mail.Flags{}, date))
	must(t, r.deliver("INBOX", r.base(), []byte("Message-ID: <here@example.org>\n\nhere\n"), mail.Flags{}, date, true))
	find := func(d imaptest.Dump) mail.Digest {
		i := slices.IndexFunc(d["INBOX"].Messages, func(m imaptest.Entry) bool { return m.Date.Equal(date) })
		return d["INBOX"].Messages[i].Digest
	}
	p.was["new there"], p.was["new here"] = find(p.target.MustDump(t)), find(treeDump(t, p.dir))
	must(t, c.rest())
	return p
}

// checkSide checks that what the other side did was followed on this one where a
// word allows it, and only there.
func (p *policyWorld) checkSide(t *testing.T, name string, d imaptest.Dump, other string, may []string) {
	t.Helper()
	follows := func(word string) bool { return slices.Contains(may, word) }
	want := map[string][]string{"new": nil, "deletes": {"INBOX"}, "moves": {"INBOX"}, "flags": {"INBOX"}}
	if follows("new") {
		want["new"] = []string{"INBOX"}
		want["moves"] = []string{"INBOX", "Work"} // a copy in Work; the old one may not go
	}
	if follows("deletes") {
		want["deletes"], want["moves"] = nil, slices.DeleteFunc(want["moves"], func(box string) bool { return box == "INBOX" })
	}
	if follows("moves") {
		want["moves"] = []string{"Work"}
	}
	for what, boxes := range want {
		got, flags := whereIs(d, p.was[what+" "+other])
		if !slices.Equal(got, boxes) {
			t.Errorf("%s: %s %s: the message is in %q, want %q", name, what, other, got, boxes)
		}
		if what == "flags" && (flags.System&mail.Flagged != 0) != follows("flags") {
			t.Errorf("%s: flags %s: it has [%s]", name, other, flags)
		}
	}
	if _, made := d["Made "+other]; made != follows("mailboxes") {
		t.Errorf("%s: a mailbox made %s: is it there: %v", name, other, made)
	}
}

// A message that is deleted in the Maildir goes into the trash of the server, when
// that is asked for, and from there to nowhere.
func TestTrashOnTheServer(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	for _, trash := range []string{`\Trash`, "Old/Bin"} {
		t.Run(trash, func(t *testing.T) {
			t.Parallel()
			w := newTwoWay(t, dovecot)
			if _, err := w.target.Fill(brief("m", 20, "INBOX")); err != nil {
				t.Fatal(err)
			}
			box := "Trash"
			if trash != `\Trash` {
				box = trash
			}
			must(t, w.server.names("CREATE", box))
			args := []string{"--trash", trash}
			w.sync(t, args...).want(t, 0)
			gone := byDate(readTree(t, w.dir, false)["INBOX"])[3]
			must(t, removeFile(gone))
			w.log.Reset()
			w.sync(t, args...).want(t, 0)
			if n := w.log.Count("UID EXPUNGE"); n > 0 {
				t.Errorf("the server was told %d times to expunge", n)
			}
			w.sync(t, args...).want(t, 0)
			if boxes, _ := whereIs(w.settled(t, args...), gone.Digest); !slices.Equal(boxes, []string{box}) {
				t.Errorf("the message that was deleted is in %q, want the trash", boxes)
			}
			for _, m := range readTree(t, w.dir, false)[box] {
				must(t, removeFile(m))
			}
			w.sync(t, args...).want(t, 0)
			if boxes, _ := whereIs(w.settled(t, args...), gone.Digest); len(boxes) > 0 {
				t.Errorf("the message that was deleted from the trash is in %q", boxes)
			}
		})
	}
}
