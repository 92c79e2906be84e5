package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"postbag/internal/export"
	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

func exportCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write mail into an archive: mbox, eml, zip, tar",
		UsageText: "export SOURCE OUT",
		Description: `Writes the messages of a Maildir, an account or a server into one archive, with a
manifest of their flags, keywords, dates and SHA-256. An account stands for its
Maildir when it has one. SOURCE is only read.

OUT is a file whose ending names the format (.mbox, .zip, .tar, .tar.gz,
.tar.zst), a folder (--format eml; --format mbox makes a file for each mailbox in
a folder that exists or is written with a / at the end), or - for stdout. The
same mail gives the same archive, octet for octet. OUT appears when all of it is
written; a file that was there is replaced then.

Messages that cannot be read are left out and named, and the exit code is 3.

With --as-of or --run, the account is written as it was at that time; --ids takes
the IDs of list.`,
		ArgsUsage: `  postbag export ~/mail/work mail.tar.zst
  postbag export work old.mbox --mailbox 'Archive/*' --before 2020-01-01
  postbag export work bills/ --format eml --from billing@example.org
  postbag export work before.zip --as-of "2024-01-31 14:30"
  postbag export work - --format tar | ssh nas 'cat > mail.tar'`,
		Flags: flags(formatFlags(), selectFlags(), filterFlags(), matchFlags(), pastFlags(), idsFlags(), []cli.Flag{gmailFlag()}, configFlags(), withoutPace(serverFlags()), maildirFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) error {
			if len(args) != 2 {
				return usageError("export", "postbag export SOURCE OUT", "takes a source and the archive to be written")
			}
			return s.export(o, args[0], args[1])
		}),
	}
}

func formatFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "format", Category: catWhat, Usage: "write `FORMAT`: mbox, eml, zip, tar, tar.gz or tar.zst (default: what the ending of OUT names)"},
	}
}

// export writes an archive and reports.
func (s *session) export(o *options, from, out string) error {
	eo, err := s.exportOptions(o, out)
	if err != nil {
		return err
	}
	var open closers
	report, err := s.runExport(o, from, eo, &open)
	if code := s.reported("", report, err, &open); code != exitDone {
		return exitError(code)
	}
	return nil
}

// exportOptions finds out what is to be written, and where to.
func (s *session) exportOptions(o *options, out string) (export.Options, error) {
	eo := export.Options{Format: o.format, Out: out, Rule: o.match}
	s.out.archive = out
	if out == "-" {
		s.out.archive = "to stdout"
		switch {
		case eo.Format == "":
			return eo, usageError("--format", "such as --format tar", "stdout has no name that tells the format")
		case eo.Format == export.EML:
			return eo, usageError("--format", "tar and zip hold files of eml", "eml is a folder, and does not go to stdout")
		case s.out.json:
			return eo, usageError("--json", "", "does not go with an archive on stdout")
		case s.env.StdoutTTY:
			return eo, usageError("export", "name a file, or send it through a pipe", "stdout is a terminal")
		}
		eo.Stdout = s.env.Stdout
		s.out.divert()
		return eo, nil
	}
	slash := strings.HasSuffix(out, "/") || strings.HasSuffix(out, string(filepath.Separator))
	path, err := s.env.absolute(out)
	if err != nil {
		return eo, err
	}
	eo.Out = filepath.Clean(path)
	info, err := os.Stat(eo.Out)
	isDir := err == nil && info.IsDir()
	if eo.Format == "" && !slash && !isDir {
		eo.Format = export.FormatOf(eo.Out)
	}
	switch {
	case eo.Format == "" && (slash || isDir):
		return eo, usageError("export", "--format eml or --format mbox", "%s is a folder, which tells no format", out)
	case eo.Format == "":
		return eo, usageError("export", "name it .mbox, .zip, .tar, .tar.gz or .tar.zst, or give --format", "the ending of %s names no format", out)
	case eo.Format == export.Mbox:
		eo.Folder = slash || isDir
	case eo.Format != export.EML && (slash || isDir):
		return eo, usageError("export", "name a file", "%s is a folder, and %s is one file", out, eo.Format)
	case eo.Format == export.EML && err == nil && !isDir:
		return eo, usageError("export", "name a folder", "%s is a file, and eml is a folder", out)
	}
	if _, err := os.Stat(filepath.Dir(eo.Out)); errors.Is(err, fs.ErrNotExist) {
		return eo, usageError("export", "make it first", "there is no folder %s", filepath.Dir(eo.Out))
	}
	return eo, nil
}

func (s *session) runExport(o *options, from string, eo export.Options, open *closers) (*sync.Report, error) {
	src, err := s.openSource(o, from, open)
	if err != nil {
		return nil, err
	}
	list, err := src.store.List(s.ctx)
	if err != nil {
		return nil, at(src.where, err)
	}
	if err := src.patterns.Check(list); err != nil {
		return nil, err
	}
	display := s.display()
	defer display.Close()
	eo.Store, eo.Match, eo.Filter = src.store, src.patterns.Match, src.filter.Pass
	eo.Workers, eo.Progress = src.workers, display
	if eo.Format == export.Zip { // whose compression is done by those who read
		eo.Workers = max(eo.Workers, min(runtime.GOMAXPROCS(0), 8))
	}
	eo.Sparse = !eo.Rule.IsZero() || src.filter.Key() != "" || o.ids != nil
	most := 0
	eo.Grown = func(messages int) {
		most = max(most, messages)
		s.holds(most, memoryAMessage)
	}
	written, err := export.Run(s.ctx, eo)
	if err != nil {
		return nil, err
	}
	return exportReport(written), nil
}

// exportReport is what an export did as other commands report it: side B is the
// archive.
func exportReport(w *export.Report) *sync.Report {
	r := &sync.Report{Command: "export", Outcome: sync.Done}
	r.Mailboxes.Total = len(w.Boxes)
	for _, b := range w.Boxes {
		if b.Messages > 0 {
			c := sync.Counts{New: b.Messages, Bytes: b.Bytes}
			r.Details = append(r.Details, sync.MailboxReport{Name: b.Name, Side: [2]sync.Counts{state.B: c}})
			add(&r.Side[state.B], c)
		}
	}
	r.Mailboxes.Changed = len(r.Details)
	failed := map[string]bool{}
	for _, p := range w.Problems {
		r.Problems = append(r.Problems, archiveProblem(p, state.A))
		failed[p.Mailbox] = failed[p.Mailbox] || p.Err.Scope != mail.ScopeMessage
	}
	for _, f := range failed {
		if f {
			r.Mailboxes.Failed++
		}
	}
	r.Mailboxes.Total += r.Mailboxes.Failed
	if len(r.Problems) > 0 {
		r.Outcome = sync.Partial
	}
	return r
}

// archiveProblem is a problem with an archive as other commands report it.
func archiveProblem(p export.Problem, side state.Side) sync.Problem {
	reason := fmt.Sprint(p.Err.Err)
	if p.Name != "" {
		reason = p.Name + ": " + reason
	}
	return sync.Problem{Mailbox: p.Mailbox, Side: side, Ref: p.Ref, Date: p.Date, Size: p.Size, Kind: p.Err.Kind, Reason: reason, Hint: p.Err.Hint}
}
