package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postbag/internal/mail"
	"postbag/sync"
)

// size is a number of octets for people: "103 kB". The units are powers of 1000.
func size(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f := float64(n)
	unit := -1
	for f >= 999.5 && unit < len(units)-1 {
		f /= 1000
		unit++
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f %cB", f, units[unit])
	}
	return fmt.Sprintf("%.0f %cB", f, units[unit])
}

// count is "1 message", "2 messages".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "x") {
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// elapsed is a duration for people: "0.4 s", "3 min 20 s".
func elapsed(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// changes lists what was done on one side: "10 new (103 kB), 5 flags".
func changes(c sync.Counts, kept int) string {
	var parts []string
	if c.New > 0 {
		parts = append(parts, fmt.Sprintf("%d new (%s)", c.New, size(c.Bytes)))
	}
	if c.Flags > 0 {
		parts = append(parts, count(c.Flags, "flag"))
	}
	for _, part := range []struct {
		n    int
		what string
	}{{c.Moved, "moved"}, {c.Deleted, "deleted"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if kept > 0 {
		parts = append(parts, keptText(kept))
	}
	return strings.Join(parts, ", ")
}

// keptText is what becomes of messages that the server deleted.
func keptText(n int) string { return fmt.Sprintf("%d kept that the server deleted", n) }

// problemText is one problem in a line: where, which message, why.
func problemText(p sync.Problem) string {
	var parts []string
	if p.Warning {
		parts = append(parts, "warning")
	}
	if p.Mailbox != "" {
		parts = append(parts, p.Mailbox)
	}
	if !p.Ref.IsZero() {
		parts = append(parts, messageText(p.Ref, p.Date, p.Size))
	}
	return strings.Join(append(parts, p.Reason), ": ")
}

// messageText names a message: "uid 42 (2024-01-31, 10 KB)".
func messageText(ref mail.Ref, date time.Time, bytes int64) string {
	var parts []string
	if !date.IsZero() {
		parts = append(parts, date.Format(time.DateOnly))
	}
	if bytes >= 0 {
		parts = append(parts, size(bytes))
	}
	if len(parts) == 0 {
		return ref.String()
	}
	return fmt.Sprintf("%s (%s)", ref, strings.Join(parts, ", "))
}

// problemJSON is a problem as --json has it.
func problemJSON(account string, p sync.Problem) problem {
	out := problem{Account: account, Mailbox: valid(p.Mailbox), Side: strings.ToLower(p.Side.String()), UID: p.Ref.UID, Key: valid(p.Ref.Key),
		Kind: kindName(p.Kind), Reason: valid(p.Reason), Hint: valid(p.Hint), Warning: p.Warning, Repaired: p.Repaired}
	if !p.Date.IsZero() {
		out.Date = p.Date.UTC().Format(time.RFC3339)
	}
	if p.Size >= 0 && !p.Ref.IsZero() {
		out.Size = &p.Size
	}
	return out
}
