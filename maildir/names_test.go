package maildir

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"postbag/internal/mail"
)

// oddNames are mailbox names as servers have them.
var oddNames = []string{
	"INBOX", "INBOX/x", "Inbox/x", "INBOX/INBOX", "a/b", "a.b", "a/b.c", mail.JoinName("a/b"), mail.JoinName("a/b", "c"),
	"new", "cur", "tmp", "New", "CUR", "cur/x", "a/cur", "a/new/tmp", "..", ".", "../x", "a/../b", "./x", "/abs", "a//b", "a/",
	".hidden", ".postbag", ".postbag/state.db", "postbag", "postbag-id", ".postbag-id", "maildirfolder",
	"~x", "~root/x", "$HOME", "a;b", "`id`", "-rf", "a b", " lead", "trail ", "trail.", "...", "*", "a%b", "100%", "100%25", "%2F", "%252F",
	"%", "%%", "%-", "%~", "a%~0123456789abcdef0123456789abcdef", "%4", "%41", "%zz", `q"uote`, `x\y`, "a:b", "a|b?c*d<e>f",
	"nul\x00", "lf\n", "esc\x1b[0m", "tab\t", "del\x7f", "c1\u0085", "rlo\u202e", "bom\ufeff", "bad\xff", "bad\xc3", "\xed\xa0\x80",
	"con", "aux.txt", "COM1", "Foo", "foo", "FOO/x", "foo/y", "caf\u00e9", "cafe\u0301", "&", "&AOk-", "a&b", "日本語", "😀", "Sent Items",
	strings.Repeat("x", 143), strings.Repeat("x", 144), strings.Repeat("x", 255), strings.Repeat("x", 3000),
	strings.Repeat("é", 100), strings.Repeat("日", 300) + "a", strings.Repeat("日", 300) + "b", strings.Repeat("%", 500), strings.Repeat(".", 300),
	strings.TrimSuffix(strings.Repeat("deep/", 100), "/"), strings.Repeat("a", 140) + "/" + strings.Repeat("b", 140) + "/" + strings.Repeat("c", 200),
}

func TestOddMailboxNames(t *testing.T) {
	t.Parallel()
	for _, layout := range []Layout{Verbatim, MaildirPP, Flat} {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			s := openNew(t, Options{Layout: layout})
			keys := map[string]string{}
			for _, name := range oddNames {
				if err := s.Create(t.Context(), name, ""); err != nil {
					t.Errorf("Create(%q): %v", clipName(name), err)
					continue
				}
				m := selected(t, s, name)
				keys[name] = deliver(t, m, outgoing{body: "in " + name})[0]
				m.Close()
			}
			list, err := s.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]mail.MailboxInfo{}
			for _, info := range list {
				if info.NoSelect {
					continue
				}
				if _, twice := got[info.Name]; twice {
					t.Errorf("%q is listed twice", clipName(info.Name))
				}
				got[info.Name] = info
			}
			for _, name := range oddNames {
				info, ok := got[name]
				if !utf8.ValidString(name) {
					continue // listed under another name, with an error
				}
				if !ok || info.Err != nil || info.ObjectID == "" || info.Validity != info.ObjectID || info.Stamp == "" {
					t.Errorf("%q is listed as %+v", clipName(name), info)
				}
				m, err := s.Examine(t.Context(), name)
				if err != nil {
					t.Errorf("Examine(%q): %v", clipName(name), err)
					continue
				}
				if body := contents(t, m)[keys[name]]; body != "in "+name {
					t.Errorf("%q holds the message %q", clipName(name), body)
				}
				if m.Info().ObjectID != info.ObjectID || m.Info().Stamp != info.Stamp {
					t.Errorf("%q is listed as %+v, opened as %+v", clipName(name), info, m.Info())
				}
				m.Close()
			}
			checkInside(t, s)
		})
	}
}

func clipName(n string) string { return n[:min(len(n), 40)] }

// checkInside makes sure that the root's directory holds the root alone.
func checkInside(t *testing.T, s *Store) {
	t.Helper()
	if got, want := files(t, filepath.Dir(s.path)), []string{filepath.Base(s.path)}; !slices.Equal(got, want) {
		t.Errorf("beside the root there are %q", got)
	}
}

func TestEscapeIsReversible(t *testing.T) {
	t.Parallel()
	escapers := []escaper{{}, {portable: true}, {dots: true}, {crowded: true}, {crowded: true, portable: true, dots: true}}
	for _, e := range escapers {
		back := map[string]string{}
		for _, name := range oddNames {
			checkEscape(t, e, name)
			d := e.escape(name)
			if other, taken := back[d]; taken {
				t.Errorf("%+v: %q and %q are both written %q", e, name, other, d)
			}
			back[d] = name
		}
	}
}

func checkEscape(t *testing.T, e escaper, name string) {
	t.Helper()
	d := e.escape(name)
	if got := unescape(d); got != name {
		t.Errorf("%+v: %q is written %q, which reads %q", e, name, d, got)
	}
	if d == "" || d == "." || d == ".." || d[0] == '.' || isReserved(d) || strings.ContainsAny(d, "/\x00\n\x7f") ||
		!utf8.ValidString(d) || strings.HasSuffix(d, ".") || strings.HasSuffix(d, " ") {
		t.Errorf("%+v: %q is written %q", e, name, d)
	}
	if e.dots && strings.Contains(d, ".") {
		t.Errorf("%+v: %q is written %q, with a dot", e, name, d)
	}
	if e.portable && (strings.ContainsAny(d, `\:*?"<>|`) || isDevice(d)) {
		t.Errorf("%+v: %q is written %q", e, name, d)
	}
}

func FuzzMailboxName(f *testing.F) {
	for _, name := range oddNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, e := range []escaper{{}, {portable: true}, {dots: true}, {crowded: true}} {
			checkEscape(t, e, name)
		}
		for _, l := range []Layout{Verbatim, MaildirPP, Flat} {
			for _, part := range l.pathParts(name) {
				for _, e := range []escaper{{}, {portable: true}} {
					dir := l.dirName(e, part)
					if len(dir) > maxComponent || !utf8.ValidString(dir) || checkName(dir) != nil {
						t.Fatalf("%s: %q is the directory %q", l, part, dir)
					}
					got, ok := l.partOf(dir)
					if isShortened(dir) {
						if !shortenedFrom(dir, part) {
							t.Fatalf("%s: %q is shortened to %q, which does not stand for it", l, part, dir)
						}
					} else if !ok || mail.JoinName(mail.SplitName(got)...) != mail.JoinName(mail.SplitName(part)...) || l != MaildirPP && got != part {
						t.Fatalf("%s: %q is the directory %q, which reads %q, %v", l, part, dir, got, ok)
					}
				}
			}
		}
	})
}

// What any directory name reads as, it can be found under.
func FuzzDirectoryName(f *testing.F) {
	for _, name := range []string{".Work.Projects", "Work", "a%2Fb", "%41", ".&AOk-", ".&AOk", ".a..b", "x%~0123456789abcdef0123456789abcdef"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, dir string) {
		for _, l := range []Layout{Verbatim, MaildirPP, Flat} {
			part, ok := l.partOf(dir)
			if !ok || isShortened(dir) {
				continue
			}
			s := &Store{layout: l}
			if !s.standsFor(dir, part, false) {
				t.Errorf("%s: %q reads %q and does not stand for it", l, dir, part)
			}
		}
	})
}

func TestModifiedUTF7(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ utf8, mutf7 string }{
		{"", ""}, {"INBOX", "INBOX"}, {"&", "&-"}, {"a&b", "a&-b"}, {"caf\u00e9", "caf&AOk-"}, {"日本語", "&ZeVnLIqe-"},
		{"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"}, {"😀", "&2D3eAA-"}, {"\n", "&AAo-"}, {"&é&", "&-&AOk-&-"},
	} {
		if got := encodeMUTF7(c.utf8); got != c.mutf7 {
			t.Errorf("encode(%q) = %q, want %q", c.utf8, got, c.mutf7)
		}
		if got, ok := decodeMUTF7(c.mutf7); got != c.utf8 || !ok {
			t.Errorf("decode(%q) = %q, %v, want %q", c.mutf7, got, ok, c.utf8)
		}
	}
	for _, bad := range []string{"&", "bad&", "&AGE-", "&AAk", "é", "&2D0-", "&A-", "&AOk", "&AOk=-", "&AOl-&", "a\x7f"} {
		if got, ok := decodeMUTF7(bad); ok && bad != "&AOl-&" {
			t.Errorf("decode(%q) = %q, want a refusal", bad, got)
		}
	}
}

// Trees that other tools made: names in other spellings, files between the
// mailboxes, and directories that are none.
func TestListOfForeignTree(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "mail")
	mk := func(path ...string) {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(append(append([]string{root}, path...), sub)...), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	mk("Inbox")
	mk("Work", "Deep", "er")
	mk("a%41b") // another way to write aAb
	mk("New")
	mk("bad\xff")
	mk("dup%2E")
	mk("dup.")
	os.MkdirAll(filepath.Join(root, "attachments", "x"), 0o700)
	os.MkdirAll(filepath.Join(root, "lost", "new"), 0o700)
	os.Symlink("/etc", filepath.Join(root, "link"))
	os.Symlink("Work", filepath.Join(root, "Play"))
	put(t, "x", root, ".mbsyncstate")
	put(t, "x", root, "Thumbs.db")

	s, err := Open(root, Options{Adopt: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, info := range list {
		line := info.Name
		if info.NoSelect {
			line += " (no mailbox)"
		}
		if info.Err != nil {
			line += " (bad)"
		} else if !info.NoSelect && (info.Validity != "1" || info.ObjectID != "") {
			t.Errorf("%q has the identity %q, %q", info.Name, info.Validity, info.ObjectID)
		}
		got = append(got, line)
	}
	want := []string{"INBOX", "New", "Work (no mailbox)", "Work/Deep (no mailbox)", "Work/Deep/er", "aAb", "bad%FF (bad)", "dup. (bad)", "lost (bad)"}
	if !slices.Equal(got, want) {
		t.Errorf("List gives\n%q, want\n%q", got, want)
	}
	for _, name := range []string{"INBOX", "New", "aAb", "Work/Deep/er"} {
		m, err := s.Select(t.Context(), name)
		if err != nil {
			t.Errorf("Select(%q): %v", name, err)
			continue
		}
		m.Close()
	}
	for _, name := range []string{"link", "Play", "attachments", "lost", "nowhere", "../mail/New", "Work/../New"} {
		if m, err := s.Select(t.Context(), name); err == nil {
			m.Close()
			t.Errorf("Select(%q) succeeds", name)
		} else if e := mail.AsError(err); e.Scope != mail.ScopeMailbox {
			t.Errorf("Select(%q): %+v, want an error of mailbox scope", name, e)
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "Inbox", ".postbag-id")); err == nil {
		t.Error("a foreign mailbox got an identity")
	}
}

func TestMailboxesComeAndGo(t *testing.T) {
	t.Parallel()
	for _, layout := range []Layout{Verbatim, MaildirPP, Flat} {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			s := openNew(t, Options{Layout: layout})
			long := "L/" + strings.Repeat("long ", 60) + "!"
			for _, name := range []string{"INBOX", "A", "A/B", "A/B/C", "D/E", "AB", long} {
				deliver(t, selected(t, s, name), outgoing{body: "in " + name, flags: `\Seen Word`})
			}
			ids := identities(t, s)
			rename := func(from, to string) {
				t.Helper()
				if err := s.Rename(t.Context(), from, to); err != nil {
					t.Errorf("Rename(%q, %q): %v", from, to, err)
				}
			}
			rename("A", "X/Y")
			rename("D/E", "D")
			rename(long, long+"?")
			for from, to := range map[string]string{"A": "A", "A/B": "X/Y/B", "nowhere": "x", "INBOX": "In", "AB": "INBOX", "X/Y": "X/Y/Z", "D": "AB"} {
				if err := s.Rename(t.Context(), from, to); err == nil && from != to {
					t.Errorf("Rename(%q, %q) succeeds", from, to)
				}
			}
			want := map[string]string{"INBOX": ids["INBOX"], "X/Y": ids["A"], "X/Y/B": ids["A/B"], "X/Y/B/C": ids["A/B/C"],
				"D": ids["D/E"], "AB": ids["AB"], long + "?": ids[long]}
			if got := identities(t, s); !mapsEqual(got, want) {
				t.Errorf("after renames there are %v, want %v", got, want)
			}
			if err := s.Delete(t.Context(), "X/Y"); err != nil {
				t.Errorf("Delete: %v", err)
			}
			delete(want, "X/Y")
			if got := identities(t, s); !mapsEqual(got, want) {
				t.Errorf("after Delete there are %v, want %v", got, want)
			}
			for _, name := range []string{"INBOX", "X/Y"} {
				if err := s.Delete(t.Context(), name); err == nil {
					t.Errorf("Delete(%q) succeeds", name)
				}
			}
			trash, err := s.Trash(t.Context())
			if err != nil || len(trash) != 1 || !trash[0].Whole || trash[0].Mailbox != "X/Y" {
				t.Fatalf("Trash gives %+v, %v", trash, err)
			}
			if back, err := s.PutBack(t.Context(), []string{trash[0].ID}); err != nil || len(back) != 1 {
				t.Fatalf("PutBack gives %q, %v", back, err)
			}
			want["X/Y"] = ids["A"]
			if got := identities(t, s); !mapsEqual(got, want) {
				t.Errorf("after PutBack there are %v, want %v", got, want)
			}
			m, err := s.Examine(t.Context(), "X/Y")
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			for _, body := range contents(t, m) {
				if body != "in A" {
					t.Errorf("the mailbox came back with %q", body)
				}
			}
			checkInside(t, s)
		})
	}
}

func identities(t *testing.T, s *Store) map[string]string {
	t.Helper()
	list, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, info := range list {
		if info.Err != nil {
			t.Errorf("%q: %v", info.Name, info.Err)
		}
		if !info.NoSelect {
			out[info.Name] = info.ObjectID
		}
	}
	return out
}

func mapsEqual(a, b map[string]string) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}
