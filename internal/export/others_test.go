package export

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/mail"
)

// seen lists what an archive holds, a line for each message: mailbox, date, flags,
// and the content, with LF.
func seen(t testing.TB, a *Archive) string {
	t.Helper()
	var b strings.Builder
	for _, name := range a.names {
		mb, err := a.Examine(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := mb.Changes(t.Context(), "", nothing{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var refs []mail.Ref
		for _, m := range d.New {
			refs = append(refs, m.Ref)
		}
		var lines []string
		err = mb.Fetch(t.Context(), refs, func(f mail.Fetched) error {
			var body bytes.Buffer
			if _, err := body.ReadFrom(f.Body); err != nil {
				return err
			}
			_, text, _ := strings.Cut(body.String(), "\r\n\r\n")
			at := "-"
			if !f.Date.IsZero() {
				at = f.Date.UTC().Format("2006-01-02T15:04:05")
			}
			lines = append(lines, fmt.Sprintf("%s | %s | %s | %s\n", name, at, f.Flags, strings.ReplaceAll(text, "\r\n", "/")))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.Join(lines, ""))
	}
	return b.String()
}

// put writes a file below a new directory.
func put(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What other programs write is read as they mean it: one line for each message that
// is found.
func TestMboxOfOthers(t *testing.T) {
	t.Parallel()
	const from = "From a@example.org Sat Jan  3 01:05:34 1996\n"
	for _, test := range []struct {
		name    string
		dialect Dialect
		text    string
		want    string
	}{
		{"mboxrd", Auto, from + "Subject: a\n\none\n>From x\n>>From y\n\n" + from + "Subject: b\n\ntwo\n\n",
			"box | 1996-01-03T01:05:34 |  | one/From x/>From y/\nbox | 1996-01-03T01:05:34 |  | two/\n"},
		{"mboxo", MboxO, from + "Subject: a\n\n>From x\n>>From y\n\n", "box | 1996-01-03T01:05:34 |  | From x/>>From y/\n"},
		{"mboxcl2", Auto, from + "Content-Length: 24\n\none\n\n" + from[:18] + "\n" + from + "Content-Length: 4\n\ntwo\n\n",
			"box | 1996-01-03T01:05:34 |  | one//From a@example.org/\nbox | 1996-01-03T01:05:34 |  | two/\n"},
		{"mboxcl2 with a line like a separator", CL2, from + fmt.Sprintf("Content-Length: %d\n\n", len(from)+6) + "\n" + from + ">\n>x\n\n" + from + "Content-Length: 0\n\n",
			"box | 1996-01-03T01:05:34 |  | /From a@example.org Sat Jan  3 01:05:34 1996/>/>x/\nbox | 1996-01-03T01:05:34 |  | \n"},
		{"mboxcl", MboxCL, from + "Content-Length: 8\n\n>From x\n\n", "box | 1996-01-03T01:05:34 |  | From x/\n"},
		{"a length that is wrong", Auto, from + "Content-Length: 400\n\none\n\n" + from + "Content-Length: 1\n\ntwo\n",
			"box | 1996-01-03T01:05:34 |  | one/\nbox | 1996-01-03T01:05:34 |  | two/\n"},
		{"no empty line between", Auto, from + "Subject: a\n\none\n" + from + "Subject: b\n\ntwo", "box | 1996-01-03T01:05:34 |  | one/\nbox | 1996-01-03T01:05:34 |  | two\n"},
		{"From in a text", Auto, from + "Subject: a\n\none\n\nFrom here on\n", "box | 1996-01-03T01:05:34 |  | one//From here on/\n"},
		{"From_ lines without a date", Auto, "From a\nDate: Tue, 12 Oct 2021 10:11:12 +0000\n\none\nFrom b\n\nFrom c\nSubject: b\n\ntwo\n",
			"box | 2021-10-12T10:11:12 |  | one/From b/\nbox | 1970 |  | two/\n"},
		{"CRLF", Auto, strings.ReplaceAll(from+"Subject: a\n\none\n\n"+from+"Subject: b\n\ntwo\n\n", "\n", "\r\n"),
			"box | 1996-01-03T01:05:34 |  | one/\nbox | 1996-01-03T01:05:34 |  | two/\n"},
		{"Status", Auto, from + "Status: RO\nX-Status: AFD\nX-Keywords: work, $Label1 (bad\n\none\n", "box | 1996-01-03T01:05:34 | \\Seen \\Answered \\Flagged \\Deleted $Label1 work | one/\n"},
		{"Thunderbird", Auto, "From - Tue Oct 12 10:11:12 2021\nX-Mozilla-Status: 1005\nX-Mozilla-Keys: $label1                \n\none\n\n" +
			"From - Tue Oct 12 10:11:12 2021\nX-Mozilla-Status: 0009\n\ndeleted\n", "box | 2021-10-12T10:11:12 | \\Seen \\Flagged $Forwarded $label1 | one/\n"},
		{"Google Takeout", Auto, "From 1@xxx Thu Jan 01 00:00:10 +0000 2015\nX-Gmail-Labels: Inbox,Important,Work/Big,\"a,b\",Unread,Starred\n\none\n\n" +
			"From 2@xxx Thu Jan 01 00:00:10 +0000 2015\nX-Gmail-Labels: =?UTF-8?Q?Opened,Category_Updates,_?=\n =?UTF-8?Q?R=C3=A4tsel?=\n\ntwo\n\n" +
			"From 3@xxx Thu Jan 01 00:00:10 +0000 2015\nX-Gmail-Labels: Archived,Opened\n\nthree\n",
			"Archive | 2015-01-01T00:00:10 | \\Seen | three/\nINBOX | 2015-01-01T00:00:10 | \\Flagged $Important | one/\n" +
				"Rätsel | 2015-01-01T00:00:10 | \\Seen | two/\nWork/Big | 2015-01-01T00:00:10 | \\Flagged $Important | one/\n" +
				"a,b | 2015-01-01T00:00:10 | \\Flagged $Important | one/\n"},
		{"UW-IMAP", Auto, "From MAILER-DAEMON Fri Jul  8 12:08:34 2011\nFrom: Mail System Internal Data <MAILER-DAEMON@h>\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1310119714 0000000002\n\nThis text\n\n" +
			from + "Subject: a\n\none\n", "box | 1996-01-03T01:05:34 |  | one/\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := open(t, OpenOptions{Paths: []string{put(t, "box.mbox", test.text)}, Dialect: test.dialect})
			got := seen(t, a)
			lines := strings.Split(got, "\n")
			for i, l := range lines { // the time of the file
				if f := strings.SplitN(l, " | ", 3); len(f) == 3 && strings.Contains(test.want, f[0]+" | 1970 | "+f[2]) {
					lines[i] = f[0] + " | 1970 | " + f[2]
				}
			}
			if got, want := sorted(strings.Join(lines, "\n")), sorted(test.want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if len(a.Problems()) > 0 {
				t.Errorf("got problem %v", a.Problems()[0].Err)
			}
		})
	}
}

func sorted(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i := range lines {
		for j := i; j > 0 && lines[j] < lines[j-1]; j-- {
			lines[j], lines[j-1] = lines[j-1], lines[j]
		}
	}
	return strings.Join(lines, "")
}

const oneMail = "Date: Tue, 12 Oct 2021 10:11:12 +0000\nSubject: a\n\none\n"

// others is a folder as several mail programs leave it.
var others = map[string]string{
	"Local Folders/Inbox":                "From - Tue Oct 12 10:11:12 2021\nSubject: a\n\ninbox\n",
	"Local Folders/Inbox.msf":            "// <!-- <mdb:mork:z v=\"1.4\"/> -->",
	"Local Folders/Work.sbd/Big":         "From - Tue Oct 12 10:11:12 2021\nSubject: a\n\nbig\n",
	"Apple.mbox/mbox":                    "From - Tue Oct 12 10:11:12 2021\nSubject: a\n\napple\n",
	"Takeout/Mail/All.mbox":              "From - Tue Oct 12 10:11:12 2021\nX-Gmail-Labels: Sent\n\ngmail\n",
	"eml/a.eml":                          oneMail,
	"eml/B.EML":                          strings.ReplaceAll(oneMail, "\n", "\r\n") + "crlf\r\n",
	"Maildir/cur/1.2.host:2,FS":          oneMail + "cur\n",
	"Maildir/new/1.3.host":               oneMail + "new\n",
	"Maildir/tmp/1.4.host":               oneMail + "tmp\n",
	"Maildir/.Sent.Old/cur/1.5.host:2,R": oneMail + "old\n",
	"readme.txt":                         "From the author\n",
	"picture":                            "\x89PNG",
}

const othersSeen = "Apple | 2021-10-12T10:11:12 |  | apple/\n" +
	"Local Folders/Inbox | 2021-10-12T10:11:12 |  | inbox/\n" +
	"Local Folders/Work/Big | 2021-10-12T10:11:12 |  | big/\n" +
	"Maildir | 2021-10-12T10:11:12 |  | one/new/\n" +
	"Maildir | 2021-10-12T10:11:12 | \\Seen \\Flagged | one/cur/\n" +
	"Sent | 2021-10-12T10:11:12 | \\Seen | gmail/\n" +
	"Sent/Old | 2021-10-12T10:11:12 | \\Answered | one/old/\n" +
	"eml | 2021-10-12T10:11:12 |  | one/\n" +
	"eml | 2021-10-12T10:11:12 |  | one/crlf/\n"

// A folder of Thunderbird, Apple Mail, Takeout, of eml files and Maildirs is read, as
// it is and in a zip or a tar.
func TestFoldersOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var z, packed bytes.Buffer
	zw := zip.NewWriter(&z)
	gz := gzip.NewWriter(&packed)
	tw := tar.NewWriter(gz)
	for name, text := range others {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := zw.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err == nil {
			err = tw.WriteHeader(&tar.Header{Name: "./" + name, Size: int64(len(text)), Mode: 0o600})
		}
		if err == nil {
			_, err = tw.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []interface{ Close() error }{zw, tw, gz} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{dir, put(t, "a.zip", z.String()), put(t, "a.tgz", packed.String())} {
		if got := sorted(seen(t, read(t, path))); got != othersSeen {
			t.Errorf("%s: got\n%s\nwant\n%s", filepath.Base(path), got, othersSeen)
		}
	}
}

// An mbox that is compressed by itself is read, too, and is named for its file.
func TestCompressedMbox(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	if _, err := gz.Write([]byte(others["Apple.mbox/mbox"])); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	if got := seen(t, read(t, put(t, "old.mbox.gz", b.String()))); got != "old | 2021-10-12T10:11:12 |  | apple/\n" {
		t.Errorf("got %q", got)
	}
}
