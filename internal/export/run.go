package export

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"postbag/internal/mail"
	"postbag/internal/match"
)

// Progress is told what an export does. Its methods are called from several
// goroutines.
type Progress interface {
	Expect(messages int, bytes int64)
	Done(messages int, bytes int64)
	Note(format string, args ...any)
}

// Options say what is written, and where to. Store, Format and Out are required.
type Options struct {
	Store  mail.Store
	Match  func(mail.MailboxInfo) bool // nil: all mailboxes
	Filter func(mail.Message) bool     // by date and size; nil: all messages. What is not known of a message does not exclude it
	Rule   match.Rule                  // by header and flags
	// Sparse leaves out mailboxes of which nothing is written.
	Sparse bool
	Format Format
	// Out is where the archive is to be. What Stdout is set for is written there
	// instead, from the beginning to the end; an mbox has no manifest then.
	Out     string
	Stdout  io.Writer
	Folder  bool // of Mbox: Out is a folder with a file for each mailbox
	Workers int  // how many messages are read at the same time; 2 when 0
	// Temp is a directory for what does not fit into memory: that of Out when "",
	// the system's with Stdout.
	Temp     string
	Progress Progress
	// Grown is told how many messages of a mailbox are listed so far: what is known of
	// them is in memory. It may be nil.
	Grown func(messages int)
	Sleep func(context.Context, time.Duration) error // between tries
}

// Problem is a message, or with a zero Ref a mailbox, that was left out.
type Problem struct {
	Mailbox string
	Ref     mail.Ref
	Name    string // of a message in an archive that is read
	Date    time.Time
	Size    int64
	Err     *mail.Error
}

// Box is what was written of one mailbox.
type Box struct {
	Name     string
	Messages int
	Bytes    int64 // of the wire forms
}

// Report is what an export did. It counts only when Run answers without an error.
type Report struct {
	Boxes    []Box // all that were chosen, also empty ones
	Problems []Problem
}

// writer writes one format. Its methods are called by one goroutine, but for
// prepare.
type writer interface {
	// box begins a mailbox.
	box(info mail.MailboxInfo) error
	// prepare does ahead what can be done side by side with other messages. What
	// it makes it appends to enc, which it answers.
	prepare(it *item, enc []byte) ([]byte, error)
	// add writes a message, and answers where it lies.
	add(it *item) (record, error)
	// finish ends the archive, with the manifest in it, and commits it.
	finish(m *manifestWriter) error
	// abort drops what was written. It does nothing after finish.
	abort()
}

// run is one export in progress.
type run struct {
	Options
	out      writer
	match    *match.Matcher
	manifest *manifestWriter
	begun    bool        // the mailbox is in the archive
	free     chan *chunk // all chunks, when none is under way
	mu       sync.Mutex  // guards report.Problems
	report   Report
}

// Run writes an archive. An error means that there is none: what was at its place
// before is there still. Messages and mailboxes that could not be read are left
// out, and are problems of the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Match == nil {
		o.Match = func(mail.MailboxInfo) bool { return true }
	}
	if o.Filter == nil {
		o.Filter = func(mail.Message) bool { return true }
	}
	if o.Workers <= 0 {
		o.Workers = 2
	}
	if o.Grown == nil {
		o.Grown = func(int) {}
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	r := &run{Options: o, match: match.New(o.Rule)}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	return &r.report, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (r *run) run(ctx context.Context) (err error) {
	infos, err := r.Store.List(ctx)
	if err != nil {
		return err
	}
	infos = slices.DeleteFunc(slices.Clone(infos), func(i mail.MailboxInfo) bool { return i.NoSelect || !r.Match(i) })
	slices.SortFunc(infos, func(a, b mail.MailboxInfo) int { return strings.Compare(a.Name, b.Name) })
	if r.out, err = newWriter(&r.Options); err != nil {
		return outError(err)
	}
	defer r.out.abort()
	if r.manifest, err = newManifest(r.Temp, r.Format); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.manifest.Close()) }()
	r.free = make(chan *chunk, r.Workers+2)
	for range cap(r.free) {
		r.free <- newChunk()
	}
	defer func() {
		for range cap(r.free) {
			err = errors.Join(err, (<-r.free).close())
		}
	}()
	for _, info := range infos {
		if info.Messages > 0 {
			r.Progress.Expect(info.Messages, max(info.Bytes, 0))
		}
	}
	for _, info := range infos {
		if err := r.mailbox(ctx, info); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return outError(r.out.finish(r.manifest))
}

// mailbox writes one mailbox. One that cannot be read is a problem.
func (r *run) mailbox(ctx context.Context, info mail.MailboxInfo) error {
	box := Box{Name: info.Name}
	all, err := r.listAgain(ctx, info)
	if err != nil {
		return r.boxProblem(ctx, info.Name, err)
	}
	r.begun = false
	if !r.Sparse {
		if err := r.begin(info); err != nil {
			return err
		}
	}
	bytes := int64(0)
	for _, l := range all {
		bytes += max(l.size, 0)
	}
	r.Progress.Expect(len(all)-max(info.Messages, 0), bytes-max(info.Bytes, 0))
	err = r.write(ctx, info, all, &box)
	r.report.Boxes = append(r.report.Boxes, box)
	if err != nil {
		return r.boxProblem(ctx, info.Name, err)
	}
	return nil
}

// begin begins a mailbox in the archive, unless it has begun.
func (r *run) begin(info mail.MailboxInfo) error {
	if r.begun {
		return nil
	}
	r.begun = true
	return outError(errors.Join(r.out.box(info), r.manifest.mailbox(info)))
}

// boxProblem answers an error that is of more than one mailbox, and puts any other
// down as a problem.
func (r *run) boxProblem(ctx context.Context, name string, err error) error {
	if e := mail.AsError(err); e.Scope == mail.ScopeMailbox && ctx.Err() == nil {
		r.problem(Problem{Mailbox: name, Size: -1, Err: e})
		return nil
	}
	return err
}

func (r *run) problem(p Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Problems = append(r.report.Problems, p)
}

// maxTries is how often something is tried over connections that get lost.
const maxTries = 5

// again calls fn until it does not fail for a passing reason.
func (r *run) again(ctx context.Context, fn func() error) error {
	for try := 0; ; try++ {
		err := fn()
		if err == nil {
			return nil
		}
		e := mail.AsError(err)
		if !e.Temporary || e.Scope == mail.ScopeMessage || try+1 >= maxTries || e.RetryAfter > time.Minute || ctx.Err() != nil {
			return err
		}
		wait := max(e.RetryAfter, time.Second<<try)
		r.Progress.Note("%v; trying again in %v", err, wait)
		if err := r.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// listAgain opens a mailbox and lists it.
func (r *run) listAgain(ctx context.Context, info mail.MailboxInfo) (all []listed, err error) {
	if info.Err != nil {
		e := *mail.AsError(info.Err)
		e.Scope = mail.ScopeMailbox
		return nil, &e
	}
	err = r.again(ctx, func() error {
		mb, err := r.Store.Examine(ctx, info.Name)
		if err != nil {
			return err
		}
		all, err = r.list(ctx, mb)
		return errors.Join(err, mb.Close())
	})
	return all, err
}
