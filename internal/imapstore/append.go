package imapstore

import (
	"context"
	"strings"
	"time"

	"postbag/internal/mail"
)

// longestKeyword is the longest keyword that is sent with APPEND: servers refuse
// longer ones in ways of their own.
const longestKeyword = 50

// splitFlags divides flags into those that may go with APPEND and those that
// have to be stored afterwards. not are flags that the server mishandles there, and
// noWords says that it may mishandle any keyword.
func splitFlags(f mail.Flags, not mail.System, noWords bool) (send, later mail.Flags) {
	const all = mail.Seen | mail.Answered | mail.Flagged | mail.Deleted | mail.Draft
	send.System = f.System & all &^ not
	later.System = f.System & all & not
	var short, long []string
	for _, word := range f.Keywords.Words() {
		switch {
		case !mail.ValidKeyword(word) || strings.HasPrefix(word, `\`):
		// Courier refuses a command for an octet that is valid (RFC 9051, 9: atom).
		case noWords, len(word) > longestKeyword, strings.ContainsAny(word, "[}~"):
			long = append(long, word)
		default:
			short = append(short, word)
		}
	}
	send.Keywords, later.Keywords = mail.NewKeywords(short...), mail.NewKeywords(long...)
	return send, later
}

// appendDate is a date as APPEND takes it, with its quotes; "" when there is
// none that every server takes.
func appendDate(t time.Time) string {
	t = t.UTC()
	if t.IsZero() || t.Year() < 1970 || t.Year() > 9998 {
		return ""
	}
	return t.Format(`"02-Jan-2006 15:04:05 -0700"`)
}

// storeLater stores the flags that did not go with APPEND, and answers which of
// them the server did not take. With an error, messages that are not known to have them
// are left to Recover: answered as arrived, somebody would seem to have taken them away.
func (c *commit) storeLater(ctx context.Context) error {
	var changes []mail.FlagChange
	waiting := make(map[mail.Ref]*sending)
	for i, s := range c.todo {
		if !s.later.IsZero() && !s.answer.Ref.IsZero() {
			changes = append(changes, mail.FlagChange{Ref: s.answer.Ref, Delta: mail.FlagDelta{Add: s.later}})
			waiting[s.answer.Ref] = &c.todo[i]
		}
	}
	if len(changes) == 0 {
		return nil
	}
	states, err := c.box.SetFlags(ctx, changes)
	for _, f := range states {
		if s := waiting[f.Ref]; s != nil {
			s.answer.Unheld = s.later.Minus(f.Flags)
			delete(waiting, f.Ref)
		}
	}
	if err != nil {
		for _, s := range waiting {
			*s.answer = mail.Landed{}
		}
	}
	return err
}
