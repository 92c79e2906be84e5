package maildir

import (
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-maildir/maildirpp"
	"postbag/internal/mail"
)

// Layout says how mailbox names become directories.
type Layout string

// The layouts.
const (
	// Verbatim nests directories as the names nest: ROOT/INBOX/{cur,new,tmp},
	// ROOT/Work/Projects/{cur,new,tmp}. Names are UTF-8.
	Verbatim Layout = "verbatim"
	// MaildirPP is Maildir++ as Courier and Dovecot have it: ROOT/{cur,new,tmp} is
	// INBOX, every other mailbox is ROOT/.Work.Projects/ with an empty file
	// "maildirfolder". Names are modified UTF-7, Dovecot's default for this
	// layout; a "." within a component is written "%2E", since Dovecot itself has
	// no way to write it.
	MaildirPP Layout = "maildir++"
	// Flat has one directory right under the root for each mailbox, the
	// separators escaped: ROOT/Work%2FProjects/{cur,new,tmp}.
	Flat Layout = "flat"
)

const inbox = "INBOX"

// Names of the tree's own that are no mailboxes. A Maildir++ tree hides nothing
// behind a leading dot: readers would take it for a mailbox.
func (l Layout) stateDir() string { return l.hidden("postbag") }
func (l Layout) idFile() string   { return l.hidden("postbag-id") }
func (l Layout) nameFile() string { return l.hidden("postbag-name") }

func (l Layout) hidden(name string) string {
	if l == MaildirPP {
		return name
	}
	return "." + name
}

// pathParts are the pieces of a mailbox's name that become one directory each:
// its components where they nest, else the whole name.
func (l Layout) pathParts(name string) []string {
	switch l {
	case Flat:
		return []string{name}
	case MaildirPP:
		if name == inbox {
			return nil
		}
		return []string{name}
	}
	return mail.SplitName(name)
}

// dirName is the directory for one of pathParts. name is the part itself.
func (l Layout) dirName(e escaper, part string) string {
	var encoded string
	if l == MaildirPP {
		e.dots = true
		components := mail.SplitName(part)
		for i, c := range components {
			components[i] = encodeMUTF7(e.escape(c))
		}
		joined, err := maildirpp.Join(components)
		if err != nil { // no component holds a dot
			joined = "." + strings.Join(components, ".")
		}
		encoded = joined
	} else {
		encoded = e.escape(part)
	}
	if len(encoded) <= maxComponent {
		return encoded
	}
	if l == MaildirPP {
		// The prefix must not end in a dot, which would begin a component.
		return strings.ReplaceAll(shorten(encoded, part), "."+longMark, longMark)
	}
	return shorten(encoded, part)
}

// partOf is the inverse of dirName. ok is false when the directory is nobody's
// mailbox: hidden, a Maildir's own, or not UTF-8. A shortened name gives "".
func (l Layout) partOf(dir string) (part string, ok bool) {
	if l == MaildirPP {
		components, err := maildirpp.Split(dir)
		if err != nil {
			return "", false
		}
		if isShortened(dir) {
			return "", true
		}
		for i, c := range components {
			if c == "" {
				return "", false
			}
			if decoded, isMUTF7 := decodeMUTF7(c); isMUTF7 {
				c = decoded
			} else if !utf8.ValidString(c) {
				return "", false
			}
			components[i] = unescape(c)
		}
		return mail.JoinName(components...), true
	}
	if strings.HasPrefix(dir, ".") || isMaildirSub(dir) || !utf8.ValidString(dir) {
		return "", false
	}
	if isShortened(dir) {
		return "", true
	}
	return unescape(dir), true
}

// isMaildirSub reports whether an entry is one of a Maildir's own directories.
func isMaildirSub(entry string) bool { return entry == "cur" || entry == "new" || entry == "tmp" }
