package sync

import (
	"cmp"
	"encoding/json"
	"slices"
	gosync "sync"
	"time"

	"postbag/internal/mail"
	"postbag/state"
)

// Counts is what a run changed on one side.
type Counts struct {
	New     int   `json:"new"`
	Flags   int   `json:"flags"`
	Moved   int   `json:"moved"`
	Deleted int   `json:"deleted"`
	Bytes   int64 `json:"bytes"` // of the messages in New
}

// Zero reports whether nothing was changed.
func (c Counts) Zero() bool { return c == Counts{} }

// MailboxCounts says how many mailboxes a run met.
type MailboxCounts struct {
	Total   int `json:"total"`
	Changed int `json:"changed"`        // something was done, or found, in them
	Skipped int `json:"skipped"`        // known to be unchanged without opening them
	Made    int `json:"made,omitempty"` // made on one of the sides
	Failed  int `json:"failed"`
}

// Problem is a message or mailbox that the run left out, or a warning. Texts may
// hold what a server said: escape them before they are shown.
type Problem struct {
	Mailbox string
	Side    state.Side
	Ref     mail.Ref // zero: the whole mailbox
	Date    time.Time
	Size    int64
	Kind    mail.Kind
	Reason  string
	Hint    string
	Warning bool // nothing was left out
	// Repaired are the repairs with which the message was sent, as package repair
	// names them.
	Repaired []string
}

// MailboxReport is what a run did in one mailbox.
type MailboxReport struct {
	Name string
	Side [2]Counts
	Kept int  // messages that A deleted and B keeps, seen in this run
	Made bool // the mailbox was made on one of the sides
}

// Outcome is how a run ended.
type Outcome string

// The outcomes.
const (
	Done        Outcome = "done"
	Partial     Outcome = "partial" // done, but for some messages or mailboxes
	Failed      Outcome = "failed"
	Refused     Outcome = "refused" // by the guard; nothing was changed
	Interrupted Outcome = "interrupted"
)

// Report is what a run did. It is complete when Run returns, also with an error.
type Report struct {
	Command   string
	Named     bool // side A may change, too: what was done needs the name of its side
	DryRun    bool
	Outcome   Outcome
	Mailboxes MailboxCounts
	Side      [2]Counts
	Kept      int // messages that A deleted and B keeps, seen in this run
	Details   []MailboxReport
	Problems  []Problem
	// Of a dry run: what would be refused for its size; how long a run would take, 0
	// when nobody knows, and what that goes by. The estimate is the caller's.
	TooLarge   TooLarge
	Estimate   time.Duration
	EstimateBy string
}

// Changed reports whether the run changed a side, or would have.
func (r *Report) Changed() bool {
	return !r.Side[0].Zero() || !r.Side[1].Zero() || r.Mailboxes.Made > 0
}

// reporter gathers a report from several goroutines.
type reporter struct {
	mu     gosync.Mutex
	boxes  map[string]*MailboxReport
	failed map[string]bool
	report Report
}

func (r *reporter) count(mailbox string, side state.Side, c Counts) {
	if c.Zero() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.box(mailbox)
	for _, sum := range []*Counts{&b.Side[side], &r.report.Side[side]} {
		sum.New += c.New
		sum.Flags += c.Flags
		sum.Moved += c.Moved
		sum.Deleted += c.Deleted
		sum.Bytes += c.Bytes
	}
}

func (r *reporter) kept(mailbox string, n int) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.box(mailbox).Kept += n
	r.report.Kept += n
}

// made notes a mailbox that was made on one of the sides.
func (r *reporter) made(mailbox string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.box(mailbox); !b.Made {
		b.Made = true
		r.report.Mailboxes.Made++
	}
}

func (r *reporter) box(mailbox string) *MailboxReport {
	if r.boxes == nil {
		r.boxes = make(map[string]*MailboxReport)
	}
	b := r.boxes[mailbox]
	if b == nil {
		b = &MailboxReport{Name: mailbox}
		r.boxes[mailbox] = b
	}
	return b
}

// problem adds p. A mailbox of which several passes complain is named once.
func (r *reporter) problem(p Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	same := func(q Problem) bool { return q.Mailbox == p.Mailbox && q.Side == p.Side && q.Ref == p.Ref }
	if i := slices.IndexFunc(r.report.Problems, same); i >= 0 {
		r.report.Problems[i] = p
		return
	}
	r.report.Problems = append(r.report.Problems, p)
}

// fail marks a mailbox as failed, with its error as a problem.
func (r *reporter) fail(mailbox string, side state.Side, err error) {
	e := mail.AsError(err)
	r.problem(Problem{Mailbox: mailbox, Side: side, Size: -1, Kind: e.Kind, Reason: reason(e), Hint: e.Hint})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = make(map[string]bool)
	}
	r.failed[mailbox] = true
}

// recovered takes back what fail said: a later pass got the mailbox right.
func (r *reporter) recovered(mailbox string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.failed[mailbox] {
		return
	}
	delete(r.failed, mailbox)
	r.report.Problems = slices.DeleteFunc(r.report.Problems, func(p Problem) bool {
		return p.Mailbox == mailbox && p.Ref.IsZero() && !p.Warning
	})
}

// skipped counts a mailbox that needs no look.
func (r *reporter) skipped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Mailboxes.Skipped++
}

// progress is a number that grows with everything that is done.
func (r *reporter) progress() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, c := range r.report.Side {
		n += c.New + c.Flags + c.Moved + c.Deleted
	}
	return n
}

// finish sorts the report and decides the outcome of a run without an error.
func (r *reporter) finish() *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Mailboxes.Failed = len(r.failed)
	r.report.Mailboxes.Changed = len(r.boxes)
	r.report.Details = nil
	for _, b := range r.boxes {
		r.report.Details = append(r.report.Details, *b)
	}
	slices.SortFunc(r.report.Details, func(a, b MailboxReport) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(r.report.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Mailbox, b.Mailbox), a.Ref.Compare(b.Ref))
	})
	if r.report.Outcome == "" {
		r.report.Outcome = Done
		if slices.ContainsFunc(r.report.Problems, func(p Problem) bool { return !p.Warning }) {
			r.report.Outcome = Partial
		}
	}
	return &r.report
}

// Summary is the report's counts as JSON, for the state's list of runs.
func (r *Report) Summary() string {
	b, err := json.Marshal(struct {
		Mailboxes MailboxCounts `json:"mailboxes"`
		A         Counts        `json:"a"`
		B         Counts        `json:"b"`
		Kept      int           `json:"kept"`
		Problems  int           `json:"problems"`
	}{r.Mailboxes, r.Side[0], r.Side[1], r.Kept, len(r.Problems)})
	if err != nil {
		return ""
	}
	return string(b)
}

// reason is the bare reason of an error, which the report's other fields place.
func reason(e *mail.Error) string {
	if e.Err == nil {
		return "failed"
	}
	return e.Err.Error()
}
