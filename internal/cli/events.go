package cli

import (
	"encoding/json"
	"time"

	"postbag/sync"
)

// The objects that --json writes, one a line. docs/json.md describes each of
// them, and a test compares the two. Fields are added, never taken away.

// summary is the last object of every command, and with the event "account"
// that of one account of several.
type summary struct {
	Event     string             `json:"event"`
	Command   string             `json:"command"`
	Account   string             `json:"account,omitempty"`
	DryRun    bool               `json:"dry_run,omitempty"`
	Outcome   string             `json:"outcome"`
	Exit      int                `json:"exit"`
	ElapsedMS int64              `json:"elapsed_ms"`
	Mailboxes sync.MailboxCounts `json:"mailboxes"`
	A         sync.Counts        `json:"a"`
	B         sync.Counts        `json:"b"`
	Kept      int                `json:"kept"`
	Verified  *verified          `json:"verified,omitempty"` // of verify only
	// Of a dry run of migrate or restore.
	EstimateMS int64     `json:"estimate_ms,omitempty"`
	TooLarge   int       `json:"too_large,omitempty"`
	Largest    int64     `json:"largest_bytes,omitempty"`
	SizeLimit  int64     `json:"limit_bytes,omitempty"`
	Problems   []problem `json:"problems"`

	reason string // why it failed, for those who are told
}

// verified is what a verification looked at.
type verified struct {
	Messages int   `json:"messages"`
	Bytes    int64 `json:"bytes"`
	Findings int   `json:"findings"`
	Repaired int   `json:"repaired,omitempty"`
}

// problem is a sync.Problem.
type problem struct {
	Account string `json:"account,omitempty"`
	Mailbox string `json:"mailbox"`
	Side    string `json:"side"`
	UID     uint32 `json:"uid,omitempty"`
	Key     string `json:"key,omitempty"`
	Date    string `json:"date,omitempty"`
	Size    *int64 `json:"size,omitempty"`
	Kind    string `json:"kind"`
	Reason  string `json:"reason"`
	Hint    string `json:"hint,omitempty"`
	Warning bool   `json:"warning,omitempty"`
	// Repaired are the repairs with which the message was sent.
	Repaired []string `json:"repaired,omitempty"`
}

// changeEvent is what a run did in one mailbox.
type changeEvent struct {
	Event   string      `json:"event"`
	Account string      `json:"account,omitempty"`
	Mailbox string      `json:"mailbox"`
	A       sync.Counts `json:"a"`
	B       sync.Counts `json:"b"`
	Kept    int         `json:"kept,omitempty"`
}

// listEvent is one mailbox of a list.
type listEvent struct {
	Event      string `json:"event"`
	Mailbox    string `json:"mailbox"`
	Role       string `json:"role,omitempty"`
	Messages   *int   `json:"messages,omitempty"`
	Bytes      *int64 `json:"bytes,omitempty"`
	Selectable bool   `json:"selectable"`
	ReadOnly   bool   `json:"read_only,omitempty"`
	Error      string `json:"error,omitempty"`
}

// routeEvent says which mailbox becomes which.
type routeEvent struct {
	Event    string `json:"event"`
	Mailbox  string `json:"mailbox"`
	To       string `json:"to"`
	By       string `json:"by"`
	Reason   string `json:"reason,omitempty"`
	Messages *int   `json:"messages,omitempty"`
	Bytes    *int64 `json:"bytes,omitempty"`
}

// findingEvent is something that verify found.
type findingEvent struct {
	Event   string `json:"event"`
	Account string `json:"account,omitempty"`
	Kind    string `json:"kind"`
	Mailbox string `json:"mailbox"`
	Side    string `json:"side"`
	UID     uint32 `json:"uid,omitempty"`
	Key     string `json:"key,omitempty"`
	Date    string `json:"date,omitempty"`
	Size    *int64 `json:"size,omitempty"`
	Reason  string `json:"reason"`
}

// statusEvent is what status tells of one Maildir.
type statusEvent struct {
	Event   string `json:"event"`
	Account string `json:"account,omitempty"`
	Maildir string `json:"maildir"`
	Server  string `json:"server,omitempty"`
	State   string `json:"state,omitempty"`
	holding
	Pending   int         `json:"pending"`
	Damaged   int         `json:"damaged"`
	Mailboxes []boxStatus `json:"mailboxes"`
	Runs      []runStatus `json:"runs"`
	Problems  []problem   `json:"problems"`
}

// holding is how much there is of what, in a Maildir or in one mailbox of it.
type holding struct {
	Messages int   `json:"messages"`
	Bytes    int64 `json:"bytes"`
	Kept     int   `json:"kept"`    // deleted on the server
	Removed  int   `json:"removed"` // deleted from the copy, and still on the server
	OnlyA    int   `json:"only_a"`  // on the server, and never copied
	OnlyB    int   `json:"only_b"`  // in the Maildir, and not from the server
}

// boxStatus is one mailbox of a statusEvent.
type boxStatus struct {
	Mailbox string `json:"mailbox"`
	holding
	// Between which runs the server was seen to have deleted what is kept.
	KeptSince *time.Time `json:"kept_since,omitempty"`
	KeptUntil *time.Time `json:"kept_until,omitempty"`
}

// runStatus is one run of the past.
type runStatus struct {
	Command  string          `json:"command"`
	Started  time.Time       `json:"started"`
	Finished *time.Time      `json:"finished,omitempty"`
	Outcome  string          `json:"outcome"`
	Summary  json.RawMessage `json:"summary,omitempty"`
}

// trashedEvent is one thing in the trash of a Maildir: listed, put back or removed
// for good.
type trashedEvent struct {
	Event    string     `json:"event"`
	ID       string     `json:"id"`
	Short    string     `json:"short"`
	Mailbox  string     `json:"mailbox"`
	Removed  time.Time  `json:"removed"`
	Whole    bool       `json:"whole,omitempty"`
	Messages *int       `json:"messages,omitempty"`
	Date     *time.Time `json:"date,omitempty"`
	Bytes    *int64     `json:"bytes,omitempty"`
	Flags    []string   `json:"flags,omitempty"`
	Subject  string     `json:"subject,omitempty"`
}

// serverEvent is what doctor tells of a server.
type serverEvent struct {
	Event        string     `json:"event"`
	Account      string     `json:"account,omitempty"`
	Server       string     `json:"server"`
	Software     string     `json:"software,omitempty"`
	Capabilities []string   `json:"capabilities"`
	Changes      string     `json:"changes"`
	Listing      string     `json:"listing"`
	Moves        string     `json:"moves,omitempty"`
	Expunges     bool       `json:"expunges"`
	Several      bool       `json:"several"`
	Literals     string     `json:"literals,omitempty"`
	Compress     bool       `json:"compress"`
	Connections  int        `json:"connections"`
	AppendLimit  *int64     `json:"append_limit,omitempty"`
	MaxLine      int        `json:"max_line,omitempty"`
	QuotaUsed    *int64     `json:"quota_used,omitempty"`
	QuotaLimit   *int64     `json:"quota_limit,omitempty"`
	Prefix       string     `json:"prefix,omitempty"`
	Delimiter    string     `json:"delimiter,omitempty"`
	Roles        []roleOf   `json:"roles"`
	Known        []knownFor `json:"known"`
}

// roleOf is a mailbox with a role.
type roleOf struct {
	Role    string `json:"role"`
	Mailbox string `json:"mailbox"`
}

// knownFor is something that the server is known for.
type knownFor struct {
	Name    string   `json:"name"`
	Effects []string `json:"effects"`
	Advice  []string `json:"advice"`
	Sources []string `json:"sources"`
}

// treeEvent is what doctor tells of a Maildir.
type treeEvent struct {
	Event         string   `json:"event"`
	Account       string   `json:"account,omitempty"`
	Maildir       string   `json:"maildir"`
	Layout        string   `json:"layout"`
	ID            string   `json:"id,omitempty"`
	Owner         string   `json:"owner,omitempty"`
	State         string   `json:"state,omitempty"`
	Folds         bool     `json:"folds"`
	InfoSeparator string   `json:"info_separator"`
	Flushes       bool     `json:"flushes"`
	FineTimes     bool     `json:"fine_times"`
	Remarks       []string `json:"remarks"`
}

// messageEvent is one message of a list.
type messageEvent struct {
	Event     string     `json:"event"`
	ID        string     `json:"id"`
	Mailbox   string     `json:"mailbox"`
	UID       uint32     `json:"uid,omitempty"`
	Key       string     `json:"key,omitempty"`
	Date      *time.Time `json:"date,omitempty"`
	Size      *int64     `json:"size,omitempty"`
	Flags     []string   `json:"flags"`
	From      string     `json:"from"`
	To        string     `json:"to"`
	Subject   string     `json:"subject"`
	MessageID string     `json:"message_id,omitempty"`
	Sent      *time.Time `json:"sent,omitempty"`
}

// runEvent is what one run found changed, of history.
type runEvent struct {
	Event string `json:"event"`
	Run   int64  `json:"run"`
	runStatus
	Changes []boxChanges `json:"changes"`
}

// boxChanges is what a run found changed in one mailbox.
type boxChanges struct {
	Mailbox  string `json:"mailbox"`
	New      int    `json:"new"`
	MovedIn  int    `json:"moved_in"`
	MovedOut int    `json:"moved_out"`
	Gone     int    `json:"gone"`
	Flags    int    `json:"flags"`
}

// prunedEvent is what prune removed beside messages of mailboxes.
type prunedEvent struct {
	Event   string `json:"event"`
	Account string `json:"account,omitempty"`
	Trash   int    `json:"trash"`
	History int    `json:"history"`
}

// stateInfo is what a state says of itself.
type stateInfo struct {
	Event       string     `json:"event"`
	State       string     `json:"state"`
	Maildir     string     `json:"maildir"`
	Server      string     `json:"server,omitempty"`
	Root        string     `json:"root,omitempty"`
	ID          string     `json:"id"`
	Version     int        `json:"version"`
	Bytes       int64      `json:"bytes"`
	Created     time.Time  `json:"created"`
	Runs        int        `json:"runs"`
	LastRun     *time.Time `json:"last_run,omitempty"`
	History     int        `json:"history"`
	HistoryFrom int64      `json:"history_from"`
	Problems    int        `json:"problems"`
	Mailboxes   []stateBox `json:"mailboxes"`
}

// stateBox is a mailbox as a state has it.
type stateBox struct {
	Mailbox string    `json:"mailbox"`
	Role    string    `json:"role,omitempty"`
	A       stateSide `json:"a"`
	B       stateSide `json:"b"`
	Filter  string    `json:"filter,omitempty"`
	Paired  int       `json:"paired"`
	OnlyA   int       `json:"only_a"`
	OnlyB   int       `json:"only_b"`
	Kept    int       `json:"kept"`
	Removed int       `json:"removed"`
	Pending int       `json:"pending"`
}

// stateSide is one side of a stateBox.
type stateSide struct {
	Name     string `json:"name,omitempty"`
	Validity string `json:"validity,omitempty"`
	Cursor   string `json:"cursor,omitempty"`
	Stamp    string `json:"stamp,omitempty"`
	Gone     int64  `json:"gone,omitempty"`
}

// damageEvent is a part of a state that is damaged.
type damageEvent struct {
	Event  string `json:"event"`
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// checkedEvent is what changed in one mailbox since the last run.
type checkedEvent struct {
	Event   string     `json:"event"`
	Mailbox string     `json:"mailbox"`
	A       *sideDrift `json:"a,omitempty"`
	B       *sideDrift `json:"b,omitempty"`
}

// sideDrift is how one side differs from what is on record.
type sideDrift struct {
	New   int    `json:"new"`
	Gone  int    `json:"gone"`
	Flags int    `json:"flags"`
	Note  string `json:"note,omitempty"`
}

// rebuiltEvent is what a new state holds.
type rebuiltEvent struct {
	Event  string `json:"event"`
	State  string `json:"state"`
	Aside  string `json:"aside,omitempty"`
	Paired int    `json:"paired"`
	OnlyA  int    `json:"only_a"`
	OnlyB  int    `json:"only_b"`
}

// errorEvent is an error that ended the command, or one account's part of it.
type errorEvent struct {
	Event   string `json:"event"`
	Account string `json:"account,omitempty"`
	Kind    string `json:"kind"`
	Exit    int    `json:"exit"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// versionEvent is which program this is.
type versionEvent struct {
	Event   string `json:"event"`
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}
