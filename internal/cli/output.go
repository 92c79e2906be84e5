package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	gosync "sync"
	"syscall"
	"time"

	"postbag/internal/mail"
	"postbag/internal/progress"
)

// output is where a command writes: results to stdout, as text or as JSON, and
// everything else to stderr. Each text is escaped on its way. Its methods may be
// called from several goroutines at once.
type output struct {
	ctx     context.Context // that of the call: it ends with an interruption
	env     *Env
	json    bool
	quiet   bool
	verbose bool
	start   time.Time

	mu       gosync.Mutex
	stdout   sink
	stderr   sink
	diverted bool   // results go nowhere: something else goes to stdout
	archive  string // that an export writes, as it was named
	summary  summary
	last     summary   // of the last account
	reason   string    // of the last failure that no account has yet
	checked  *verified // likewise
}

// beside makes lines go round a bar on the terminal of stderr.
func (o *output) beside(d *progress.Display) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stderr.w = d.Beside(o.env.Stderr)
	if o.env.StdoutTTY {
		o.stdout.w = d.Beside(o.env.Stdout)
	}
}

// divert keeps results off stdout, where something else goes. Only the verbose are told.
func (o *output) divert() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.diverted, o.stdout.w = true, io.Discard
}

// sink is a stream that is given up after the first error.
type sink struct {
	w     io.Writer
	ascii bool // a terminal that is not known to show anything else
	err   error
}

// escape makes a text fit for where the sink ends.
func (s *sink) escape(text string) string {
	text = escape(text)
	if s.ascii {
		text = ascii(text)
	}
	return text
}

func (s *sink) write(p []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(p)
	}
}

func newOutput(ctx context.Context, env *Env, c call) *output {
	return &output{ctx: ctx, env: env, json: c.json, quiet: c.quiet, start: env.Now(),
		stdout: sink{w: env.Stdout, ascii: env.StdoutTTY && !env.utf8()}, stderr: sink{w: env.Stderr, ascii: env.StderrTTY && !env.utf8()},
		summary: summary{Event: "summary", Command: c.name(), Problems: []problem{}}}
}

// result writes one line of the command's result, unless the result is JSON.
func (o *output) result(format string, args ...any) {
	if o.json {
		return
	}
	o.line(&o.stdout, fmt.Sprintf(format, args...))
}

// event writes one JSON object, when JSON is wanted.
func (o *output) event(v any) {
	if !o.json {
		return
	}
	line, err := o.encode(v)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		if o.stdout.err == nil {
			o.stdout.err = err
		}
		return
	}
	o.stdout.write(line)
}

// encode makes one line of JSON.
func (o *output) encode(v any) ([]byte, error) {
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(escapeJSON(encoded, o.stdout.ascii), '\n'), nil
}

// note writes one line to stderr, for the verbose.
func (o *output) note(format string, args ...any) {
	if o.verbose {
		o.line(&o.stderr, fmt.Sprintf(format, args...))
	}
}

// warn writes one line to stderr that -q does not silence: something is not as
// it should be.
func (o *output) warn(format string, args ...any) {
	o.line(&o.stderr, "postbag: "+fmt.Sprintf(format, args...))
}

func (o *output) hint(hint string) {
	if hint != "" {
		o.line(&o.stderr, "hint: "+hint)
	}
}

// fail reports an error, with an account where there are several: one line that
// says what, where and why, one with a hint, and an object of JSON. It answers
// with the exit code. After an interruption that is all there is to say: what
// fails then fails because of it.
func (o *output) fail(account string, err error) int {
	e := mail.AsError(err)
	code, kind, reason, hint := exitCode(err), kindName(e.Kind), err.Error(), e.Hint
	if e.Kind == mail.KindThrottled && e.RetryAfter > 0 {
		hint = fmt.Sprintf("run it again after %s and it goes on", comeBack(o.env.Now(), e.RetryAfter))
	}
	if code == exitInterrupted || o.ctx.Err() != nil {
		code, kind, reason, hint = exitInterrupted, "interrupted", "interrupted", "run it again and it goes on"
	}
	text := reason
	if account != "" {
		text = account + ": " + text
	}
	o.warn("%s", text)
	o.hint(hint)
	o.event(errorEvent{"error", account, kind, code, valid(reason), valid(hint)})
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reason = reason
	if o.summary.reason == "" {
		o.summary.reason = text
	}
	return code
}

// trouble reports an error that came after a run: what the run did stays done.
func (o *output) trouble(account string, err error) {
	text := err.Error()
	if account != "" {
		text = account + ": " + text
	}
	o.warn("%s", text)
	o.event(errorEvent{"error", account, kindName(mail.KindOther), exitFailed, valid(err.Error()), ""})
}

// comeBack is when a pause that begins now is over: a time of day, with the date
// where it is not today's.
func comeBack(now time.Time, pause time.Duration) string {
	at := now.Add(pause + time.Minute - 1).Truncate(time.Minute)
	if at.Format(time.DateOnly) != now.Format(time.DateOnly) {
		return at.Format("2006-01-02 15:04")
	}
	return at.Format("15:04")
}

// end writes the summary and answers with the exit code that holds in the end.
func (o *output) end(code int) int {
	o.event(o.closing(code))
	return o.close(code)
}

// text writes what is no line of a result, as it stands.
func (o *output) text(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stdout.write([]byte(text))
}

// close answers with the exit code that holds when stdout could be written to, or
// could not.
func (o *output) close(code int) int {
	o.mu.Lock()
	err := o.stdout.err
	o.mu.Unlock()
	// A reader that went away has seen what it wanted.
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return code
	}
	o.warn("stdout: %v", bare(err))
	return worse(code, exitFailed)
}

// closing is the summary of a command that ends with code.
func (o *output) closing(code int) summary {
	o.summary.Exit, o.summary.Outcome = code, outcomeOf(code)
	o.summary.ElapsedMS = o.elapsed().Milliseconds()
	return o.summary
}

// lastAccount is what the account came to that was added up last.
func (o *output) lastAccount() summary {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

func (o *output) elapsed() time.Duration { return o.env.Now().Sub(o.start) }

func (o *output) line(s *sink, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.write([]byte(s.escape(text) + "\n"))
}
