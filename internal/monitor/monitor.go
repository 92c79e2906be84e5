// Package monitor tells other programs how runs went: in a file of JSON, in a file
// of metrics for Prometheus, by hooks, and by pings. It knows nothing of mail, and
// nothing that goes wrong in it changes what a run did.
//
// Both files hold the last run of each command and the last part in one of each
// account, so that several jobs can share them: a run replaces what is its own, and
// leaves the rest as it is. They are replaced as a whole: a reader sees the old or
// the new file, also after a crash.
package monitor

import "time"

// Run is how the last run of one command ended, or one account's part in it.
type Run struct {
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Outcome string    `json:"outcome"`
	Exit    int       `json:"exit"`
	Error   string    `json:"error,omitempty"` // why it failed, for people
	// LastSuccess is the End of the last run with exit code 0. Update sets it.
	LastSuccess *time.Time `json:"last_success,omitempty"`
	Counts
	Accounts map[string]Run `json:"accounts,omitempty"` // of a whole run only
}

// Counts are what a run looked at and did.
type Counts struct {
	Mailboxes Mailboxes `json:"mailboxes"`
	A         Changes   `json:"a"`
	B         Changes   `json:"b"`
	Kept      int       `json:"kept"`
	Problems  int       `json:"problems"`
	Findings  *int      `json:"findings,omitempty"` // of a verification only
}

// Mailboxes are numbers of mailboxes.
type Mailboxes struct {
	Total   int `json:"total"`
	Changed int `json:"changed"`
	Skipped int `json:"skipped"`
	Failed  int `json:"failed"`
}

// Changes are what was done on one side.
type Changes struct {
	New     int   `json:"new"`
	Flags   int   `json:"flags"`
	Moved   int   `json:"moved"`
	Deleted int   `json:"deleted"`
	Bytes   int64 `json:"bytes"` // of the messages in New
}

// Any reports whether anything was done.
func (c Changes) Any() bool { return c != Changes{} }

// succeeded is the time for LastSuccess: that of this run, or else the earlier one.
func (r Run) succeeded(earlier *time.Time) *time.Time {
	if r.Exit != 0 {
		return earlier
	}
	end := r.End
	return &end
}
