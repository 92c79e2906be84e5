package export

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"postbag/internal/mail"
)

// member is what a file in a folder or an archive is, by its path.
type member struct {
	path  string // with slashes
	kind  Format // EML, Mbox, or "" for one whose content has to tell
	box   string
	flags mail.Flags
	lf    bool // of EML: it may have LF for CRLF
}

var errOutside = errors.New("its path leads out of the archive")

// parseMember finds out what a path says. It is no mail when ok is false, and an
// error when it leads elsewhere.
func parseMember(name string) (m member, ok bool, err error) {
	m.path = strings.TrimPrefix(name, "./")
	parts := strings.FieldsFunc(m.path, func(r rune) bool { return r == '/' || r == '\\' })
	for _, p := range parts {
		if p == ".." {
			return m, false, errOutside
		}
	}
	if strings.HasPrefix(name, "/") || strings.HasPrefix(name, `\`) || strings.ContainsRune(name, 0) || len(name) > 1 && name[1] == ':' {
		return m, false, errOutside
	}
	parts = strings.Split(m.path, "/")
	base, dirs := parts[len(parts)-1], parts[:len(parts)-1]
	if base == "" || strings.HasPrefix(base, ".") || m.path == ManifestName || len(dirs) > 0 && dirs[0] == "__MACOSX" {
		return m, false, nil
	}
	if n := len(dirs); n > 0 && (dirs[n-1] == "cur" || dirs[n-1] == "new") {
		_, info, _ := strings.Cut(base, ":2,")
		m.kind, m.lf, m.flags, m.box = EML, true, flagsOf(info, infoLetters), maildirBox(dirs[:n-1])
		return m, true, nil
	}
	if n := len(dirs); n > 0 && dirs[n-1] == "tmp" {
		return m, false, nil
	}
	switch lower := strings.ToLower(base); {
	case strings.HasSuffix(lower, ".eml"):
		m.kind, m.box = EML, boxOfDirs(dirs)
	case strings.HasSuffix(lower, ".mbox"), strings.HasSuffix(lower, ".mbx"):
		m.kind, m.box = Mbox, boxOfDirs(append(dirs, base))
	case base == "mbox" && len(dirs) > 0 && strings.HasSuffix(dirs[len(dirs)-1], mboxEnding): // Apple Mail
		m.kind, m.box = Mbox, boxOfDirs(dirs)
	case strings.Contains(base, ".") && path.Ext(lower) != "" && isForeign(path.Ext(lower)):
		return m, false, nil
	default:
		m.box = boxOfDirs(append(dirs, base))
	}
	return m, true, nil
}

// isForeign reports whether files with an ending are no mail. They lie about in
// archives of others: indexes, settings, texts.
func isForeign(ending string) bool {
	switch ending {
	case ".msf", ".dat", ".json", ".jsonl", ".html", ".htm", ".txt", ".md", ".css", ".js", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf",
		".csv", ".xml", ".ini", ".db", ".sqlite", ".log", ".lock", ".rdf", ".ics", ".vcf", ".plist", ".emlxpart", ".toc":
		return true
	}
	return false
}

// boxOfDirs is the mailbox of a path: Thunderbird's ".sbd" and an ".mbox" are no part
// of a name. "INBOX" when there is no path.
func boxOfDirs(dirs []string) string {
	var components []string
	for _, d := range dirs {
		for _, ending := range []string{".sbd", ".mbox", ".mbx"} {
			if len(d) > len(ending) && strings.EqualFold(d[len(d)-len(ending):], ending) {
				d = d[:len(d)-len(ending)]
				break
			}
		}
		components = append(components, unescape(d))
	}
	if name := boxName(components); name != "" {
		return name
	}
	return "INBOX"
}

// boxOfFile is the mailbox of a file that was named by itself.
func boxOfFile(name string) string {
	base := filepath.Base(name)
	lower := strings.ToLower(base)
	if strings.HasSuffix(lower, ".eml") {
		return "INBOX"
	}
	for _, e := range append(endings, struct {
		ending string
		format Format
	}{".gz", ""}) {
		if strings.HasSuffix(lower, e.ending) {
			base = base[:len(base)-len(e.ending)]
			break
		}
	}
	for _, ending := range []string{".mbox", ".mbx"} {
		base = strings.TrimSuffix(base, ending)
	}
	if name := boxName([]string{unescape(base)}); name != "" {
		return name
	}
	return "INBOX"
}

// maildirBox is the mailbox of a Maildir by the path of its directory: nested, or
// with dots as in Maildir++.
func maildirBox(dirs []string) string {
	if n := len(dirs); n > 0 && strings.HasPrefix(dirs[n-1], ".") {
		return boxOfDirs(strings.Split(strings.TrimPrefix(dirs[n-1], "."), "."))
	}
	return boxOfDirs(dirs)
}

// infoLetters are the flags behind ":2," in the name of a Maildir's file.
var infoLetters = map[rune]mail.System{'S': mail.Seen, 'R': mail.Answered, 'F': mail.Flagged, 'T': mail.Deleted, 'D': mail.Draft}

// flagsOf reads letters that stand for flags. What is none is left out.
func flagsOf(letters string, system map[rune]mail.System) (f mail.Flags) {
	for _, c := range letters {
		f.System |= system[c]
	}
	return f
}

// readDir reads a folder: what export writes, files of eml, the profile of a mail
// program.
func (a *Archive) readDir(root string) error {
	var man *manifest
	if f, err := openRegular(filepath.Join(root, ManifestName)); err == nil {
		man, err = a.manifest(f, filepath.Join(root, ManifestName))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	before := len(a.problems)
	mails := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, name)
		if relErr != nil {
			rel = name
		}
		rel = filepath.ToSlash(rel)
		switch {
		case a.ctx.Err() != nil:
			return a.ctx.Err()
		case err != nil:
			a.problem("", rel, 0, messageError(mail.KindDisk, bare(err), ""))
			return nil
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && name != root && !hasCur(name):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		m, ok, _ := parseMember(rel)
		if !ok {
			return nil
		}
		if !d.Type().IsRegular() {
			a.problem(m.box, rel, 0, integrity("it is no file, and links are not followed"))
			return nil
		}
		mails++
		return a.readLoose(m, name, man)
	})
	if err != nil {
		return err
	}
	a.missing(man)
	if mails == 0 && man == nil && len(a.problems) == before {
		return integrity("there is no mail in it")
	}
	return nil
}

// hasCur reports whether a folder is a Maildir: those of Maildir++ are hidden.
func hasCur(path string) bool {
	info, err := os.Stat(filepath.Join(path, "cur"))
	return err == nil && info.IsDir()
}

// readLoose reads one file of a folder.
func (a *Archive) readLoose(m member, name string, man *manifest) error {
	info, err := os.Lstat(name)
	if err != nil {
		a.problem(m.box, m.path, 0, messageError(mail.KindDisk, bare(err), ""))
		return nil
	}
	if m.kind == EML {
		return a.add(found{name: m.path, at: place{path: name, n: info.Size()}, auto: true, box: m.box, flags: m.flags,
			date: info.ModTime(), man: man, key: manifestKey(m.path, -1)})
	}
	f, err := openRegular(name)
	if err != nil {
		a.problem(m.box, m.path, 0, messageError(mail.KindDisk, bare(err), ""))
		return nil
	}
	kept, err := a.readInner(m, file{ra: f, size: info.Size(), name: m.path, member: m.path, box: m.box, date: info.ModTime(), man: man})
	if kept {
		a.close = append(a.close, f)
		return err
	}
	return errors.Join(err, f.Close())
}

// readInner reads a member that may be an mbox. kept tells whether it was one.
func (a *Archive) readInner(m member, f file) (kept bool, err error) {
	head := make([]byte, len(fromLine))
	n, _ := f.ra.ReadAt(head, 0)
	switch {
	case string(head[:n]) == fromLine, f.size == 0 && m.kind == Mbox:
		return true, a.readMbox(f)
	case m.kind == Mbox:
		a.problem(m.box, m.path, f.size, integrity("it does not begin with a From line, so it is no mbox"))
	default:
		a.o.Note("%s: left out: it is no mail", m.path)
	}
	return false, nil
}

// outside puts a path that leads elsewhere down as a problem.
func (a *Archive) outside(name string, err error) {
	a.problem("", name, 0, messageError(mail.KindRefused, err, ""))
}
