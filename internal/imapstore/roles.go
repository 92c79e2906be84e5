package imapstore

import (
	"slices"
	"strings"

	"postbag/internal/mail"
)

// useNames are names that mailboxes with a role have on servers that do not tell
// roles, the surest first.
var useNames = []struct {
	use   mail.SpecialUse
	names []string
}{
	{mail.UseArchive, []string{"archive", "archives", "archiv", "archivo"}},
	{mail.UseDrafts, []string{"drafts", "draft", "entwürfe", "brouillons", "borradores", "bozze", "concepten"}},
	{mail.UseJunk, []string{"junk", "spam", "junk e-mail", "junk email", "bulk mail", "bulk", "junk mail", "spamverdacht", "indésirables"}},
	{mail.UseSent, []string{"sent", "sent items", "sent messages", "sent mail", "gesendet", "gesendete elemente", "gesendete objekte", "envoyés", "éléments envoyés", "enviados", "inviata", "verzonden"}},
	{mail.UseTrash, []string{"trash", "deleted items", "deleted messages", "deleted", "bin", "papierkorb", "gelöschte elemente", "corbeille", "papelera", "cestino", "prullenbak"}},
}

// xlistUses are the names that XLIST (before RFC 6154) has for roles.
var xlistUses = map[string]mail.SpecialUse{
	`\ALLMAIL`: mail.UseAll, `\SPAM`: mail.UseJunk, `\STARRED`: mail.UseFlagged,
}

// rolesOf finds the role of each mailbox: what the server says, else, when it
// says nothing of any mailbox, what the names say.
func rolesOf(mailboxes []*listed, names []string) []mail.SpecialUse {
	uses := make([]mail.SpecialUse, len(mailboxes))
	told := false
	for i, m := range mailboxes {
		for _, a := range m.attrs {
			use := mail.ParseSpecialUse(a)
			if use == "" {
				use = xlistUses[a]
			}
			if use != "" && uses[i] == "" {
				uses[i], told = use, true
			}
		}
	}
	if told {
		return uses
	}
	for _, role := range useNames {
		best, rank := -1, len(role.names)
		for i, m := range mailboxes {
			if m.noSelect() || isInbox(names[i]) {
				continue
			}
			if r := slices.Index(role.names, strings.ToLower(names[i])); r >= 0 && r < rank {
				best, rank = i, r
			}
		}
		if best >= 0 {
			uses[best] = role.use
		}
	}
	return uses
}
