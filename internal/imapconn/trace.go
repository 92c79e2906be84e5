package imapconn

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// trace writes the log of a connection, and takes credentials out of whatever
// text leaves this package. A nil *trace does nothing.
type trace struct {
	mu     sync.Mutex
	w      io.Writer // nil: only redact
	secret []string  // spellings of the credentials, longest first
}

// maxTraceLine is how much of a line is shown.
const maxTraceLine = 2000

// hide makes the trace replace the secret from now on, in the spellings in which
// it goes over the wire or in which a server might repeat it.
func (t *trace) hide(secret string, blobs ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(secret)
	forms := []string{secret, escaped, fmt.Sprintf("%q", secret), url.QueryEscape(secret), url.PathEscape(secret), escape([]byte(secret))}
	for _, blob := range append(blobs, secret) {
		std := base64.StdEncoding.EncodeToString([]byte(blob))
		forms = append(forms, std, strings.TrimRight(std, "="), base64.URLEncoding.EncodeToString([]byte(blob)))
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	t.secret = slices.DeleteFunc(slices.Compact(forms), func(s string) bool { return s == "" })
}

// forgetShort stops looking for secrets so short that they are found in any
// text. It is called once the server has no more reason to repeat them.
func (t *trace) forgetShort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secret = slices.DeleteFunc(t.secret, func(s string) bool { return len(s) < 4 })
}

// redact is text without credentials.
func (t *trace) redact(text string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.redactLocked(text)
}

func (t *trace) redactLocked(text string) string {
	for _, s := range t.secret {
		text = strings.ReplaceAll(text, s, "[secret]")
	}
	return text
}

// line logs one line of one direction ("C" or "S").
func (t *trace) line(direction string, line []byte) {
	if t.w == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.redactLocked(escape([]byte(t.redactLocked(string(line)))))
	if rest := len(text) - maxTraceLine; rest > 0 {
		text = fmt.Sprintf("%s... (%d more)", text[:maxTraceLine], rest)
	}
	// Nobody can be told that the log failed but its own writer.
	_, _ = io.WriteString(t.w, direction+": "+text+"\n")
}

// escape makes one printable line of any octets.
func escape(b []byte) string {
	var s strings.Builder
	s.Grow(len(b))
	for _, c := range b {
		if c < ' ' || c > '~' {
			fmt.Fprintf(&s, `\x%02x`, c)
			continue
		}
		s.WriteByte(c)
	}
	return s.String()
}
