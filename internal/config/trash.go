package config

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"postbag/internal/mail"
)

// ParseTrash reads where removed messages go on a server: the name of a mailbox,
// with "/" between the levels, or a role. Whether there is such a mailbox the
// server knows.
func ParseTrash(s string) (string, error) {
	if strings.HasPrefix(s, `\`) {
		switch use := mail.ParseSpecialUse(s); use {
		case "":
			return "", usage("", `\Trash, or the name of a mailbox`, "there is no role %s", s)
		case mail.UseAll, mail.UseFlagged:
			return "", usage("", `\Trash, or the name of a mailbox`, "%s is a view of other mailboxes, and keeps nothing", use)
		default:
			return string(use), nil
		}
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", usage("", "", "%q cannot be the name of a mailbox", s)
	}
	for _, level := range strings.Split(s, "/") {
		if level == "" {
			return "", usage("", `such as "Trash" or "Archive/Trash"`, "%q cannot be the name of a mailbox", s)
		}
	}
	if strings.EqualFold(s, "INBOX") {
		return "", usage("", `\Trash, or the name of another mailbox`, "the INBOX cannot be the trash: what is removed there would stay")
	}
	return s, nil
}
