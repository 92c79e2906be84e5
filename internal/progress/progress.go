// Package progress shows a run that is going on: one bar with messages, octets,
// rate and the time that is left on a terminal, and single lines for the
// verbose. It writes to stderr only, and nothing at all unless it is told that
// somebody looks.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	interval = 100 * time.Millisecond // between two drawings of the bar
	// patience is the time before the first drawing: what is over so soon needs
	// no bar, and has no rate worth showing.
	patience = 500 * time.Millisecond
)

// clearLine brings the cursor to the start of the line and empties it.
const clearLine = "\r\x1b[K"

// Options say what is shown, and where.
type Options struct {
	Out     io.Writer
	Bar     bool // Out is a terminal, and the user wants to see the bar
	Verbose bool // show the lines of Note
	// Escape makes a text fit to be shown: names of mailboxes come from servers.
	Escape func(string) string
	Width  func() int // columns of the terminal; 80 when nil or without an answer
	Now    func() time.Time
	// ASCII draws the bar with what every terminal has.
	ASCII bool
}

// Display is what a run tells of itself. Its methods may be called from several
// goroutines at once.
type Display struct {
	o Options

	mu       sync.Mutex
	bar      *progressbar.ProgressBar
	messages [2]int // done, expected
	bytes    [2]int64
	began    time.Time // the first call of Expect or Done
	drawn    time.Time
	visible  bool
}

// New makes a Display. It shows nothing in the first half second, and nothing
// before the first message is done.
func New(o Options) *Display { return &Display{o: o} }

// Expect adds to what is to be done, or takes back.
func (d *Display) Expect(messages int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.messages[1] += messages
	d.bytes[1] += bytes
	d.begin()
}

// Done adds to what has been done.
func (d *Display) Done(messages int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.messages[0] += messages
	d.bytes[0] += max(bytes, 0)
	d.begin()
	if !d.o.Bar {
		return
	}
	if now := d.o.Now(); now.Sub(d.drawn) >= interval && now.Sub(d.began) >= patience {
		d.draw()
	}
}

// begin starts the library's clock, which the rate is reckoned by.
func (d *Display) begin() {
	if !d.o.Bar || d.bar != nil {
		return
	}
	d.began = d.o.Now()
	theme := progressbar.ThemeDefault
	if d.o.ASCII {
		theme = progressbar.ThemeASCII
	}
	d.bar = progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(io.Discard),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(20),
		progressbar.OptionSetTheme(theme),
	)
	d.bar.StartWithoutRender()
}

// Note shows one line to the verbose.
func (d *Display) Note(format string, args ...any) {
	if !d.o.Verbose {
		return
	}
	io.WriteString(d.Beside(d.o.Out), d.o.Escape(fmt.Sprintf(format, args...))+"\n")
}

// Beside is a writer of whole lines to w, which ends at the same terminal: the bar
// makes room for them.
func (d *Display) Beside(w io.Writer) io.Writer { return beside{d, w} }

type beside struct {
	d *Display
	w io.Writer
}

func (b beside) Write(p []byte) (int, error) {
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	again := b.d.visible
	b.d.clear()
	n, err := b.w.Write(p)
	if again {
		b.d.draw()
	}
	return n, err
}

// Close takes the bar away. Nothing is drawn afterwards unless Done is called
// again.
func (d *Display) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
}

func (d *Display) clear() {
	if d.visible {
		io.WriteString(d.o.Out, clearLine)
		d.visible = false
	}
}

// draw shows the bar as of now. The library renders; the line is written here,
// cut to the terminal, so that it never wraps and can always be taken away.
func (d *Display) draw() {
	// The library's bar ends for good when it is full; more may be found to do.
	d.bar.ChangeMax64(max(d.bytes[0]+1, d.bytes[1]))
	d.bar.Describe(fmt.Sprintf("%d/%d messages", d.messages[0], max(d.messages[0], d.messages[1])))
	_ = d.bar.Set64(d.bytes[0]) // its only error is that of a full bar
	width := 0
	if d.o.Width != nil {
		width = d.o.Width()
	}
	if width <= 0 {
		width = 80
	}
	line := []rune(strings.TrimSpace(strings.ReplaceAll(d.bar.String(), "\r", "")))
	if len(line) >= width {
		line = line[:width-1]
	}
	io.WriteString(d.o.Out, clearLine+string(line))
	d.drawn, d.visible = d.o.Now(), true
}
