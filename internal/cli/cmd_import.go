package cli

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/export"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/internal/mapping"
	"postbag/maildir"
	"postbag/state"
	"postbag/sync"
)

func importCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "put mail from archives into a Maildir or on a server",
		UsageText: "import FILE... DEST",
		Description: `Adds what the files have and DEST lacks: a Maildir, which is made when it is
not there, a server, or an account, which stands for its Maildir when it has one.
What DEST has is found by its content and left as it is, so that importing twice
adds nothing.

FILE is what export writes, or of others: mbox in its dialects, eml files and
folders of them, Maildirs, zip and tar with any of these, the mail folder of
Thunderbird, an archive of Google Takeout (its labels become mailboxes). Flags,
dates and mailboxes come from the manifest, else from what headers and names
tell. --map and --under say where mailboxes go. - is one such file on stdin.

A message that is damaged, or is not what the manifest says, is left out and
named; the rest is imported, and the exit code is 3.`,
		ArgsUsage: `  postbag import mail.tar.zst ~/mail/new
  postbag import old.mbox imaps://me@imap.example.org --under Old
  postbag import takeout.zip work --dry-run
  postbag import - work < mail.tar.gz
  postbag import ~/.thunderbird/abc.default/Mail/'Local Folders' ~/mail/tb`,
		Flags: flags(selectFlags(), filterFlags(), mapFlags(), []cli.Flag{mboxFlag(), dryRunFlag(), refusedFlag()}, configFlags(), serverFlags(), layoutFlags(), createFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) error {
			if len(args) < 2 {
				return usageError("import", "postbag import FILE... DEST", "takes files, and where their mail goes")
			}
			return s.importAll(o, args[:len(args)-1], args[len(args)-1])
		}),
	}
}

func mboxFlag() cli.Flag {
	return &cli.StringFlag{Name: "mbox", Category: catWhat, Usage: "read mbox files as `DIALECT`: mboxo, mboxrd, mboxcl or mboxcl2 (default: by Content-Length where a From line follows, else as mboxrd)"}
}

// orNewTree says how a Maildir is written that an import makes, where its name was
// taken for that of an account.
func orNewTree(dest string, err error) error {
	if e := mail.AsError(err); e.Op == "account "+dest && strings.HasPrefix(e.Hint, "accounts are configured") {
		e.Hint = fmt.Sprintf("a Maildir that is to be made is written ./%s; %s", dest, e.Hint)
	}
	return err
}

// importAll imports Maildirs one after the other, and all other files as one.
func (s *session) importAll(o *options, args []string, dest string) error {
	e, err := s.endpoints(o).parse(dest)
	if err != nil {
		return orNewTree(dest, err)
	}
	var files, trees []string
	for _, arg := range args {
		if arg == export.Stdin {
			if err := s.checkStream(files); err != nil {
				return err
			}
			files = append(files, arg)
			continue
		}
		path, err := s.env.absolute(arg)
		if err != nil {
			return err
		}
		path = filepath.Clean(path)
		if e.maildir != "" && path == e.maildir {
			return usageError("import", "", "%s would be imported into itself", arg)
		}
		if s.isMaildir(path) {
			trees = append(trees, path)
		} else {
			files = append(files, path)
		}
	}
	code := exitDone
	run := func(label string, one func(open *closers) (*sync.Report, error)) {
		if s.ctx.Err() != nil {
			return
		}
		if len(trees)+min(len(files), 1) == 1 {
			label = ""
		}
		var open closers
		report, err := one(&open)
		code = worse(code, s.reported(label, report, err, &open))
	}
	if len(files) > 0 {
		run("files", func(open *closers) (*sync.Report, error) { return s.importFiles(o, files, e, open) })
	}
	for _, tree := range trees {
		run(filepath.Base(tree), func(open *closers) (*sync.Report, error) { return s.importTree(o, tree, e, open) })
	}
	if code != exitDone {
		return exitError(code)
	}
	return nil
}

// checkStream refuses an archive on stdin where there can be none.
func (s *session) checkStream(files []string) error {
	switch {
	case slices.Contains(files, export.Stdin):
		return usageError("import", "", "stdin is named twice")
	case s.env.Ask != nil:
		return usageError("import", "name a file, or send it through a pipe", "stdin is a terminal")
	}
	return nil
}

// isMaildir reports whether a path is a tree of Maildirs, and no archive of ours.
func (s *session) isMaildir(path string) bool {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return false
	}
	if _, err := os.Stat(filepath.Join(path, export.ManifestName)); err == nil {
		return false
	}
	store, err := maildir.Open(path, maildir.Options{ReadOnly: true})
	if err != nil {
		return false
	}
	defer store.Close()
	list, err := store.List(s.ctx)
	return err == nil && len(list) > 0
}

// dest is where mail is imported to.
type dest struct {
	store   mail.Store
	server  *imapstore.Store // nil for a Maildir
	account *config.Account
	scratch string // a directory for what lasts as long as the import
}

// openDest opens the place that mail goes to. Two imports to one place are kept
// apart.
func (s *session) openDest(o *options, e endpoint, open *closers) (*dest, error) {
	a := o.accountOf(e)
	d := &dest{account: a}
	var err error
	home := s.env.stateDir()
	if a.Maildir == "" {
		if d.server, err = s.openServer(a, o.trace, open); err != nil {
			return nil, err
		}
		d.store = d.server
		if sum := sha256.Sum256([]byte(a.Server.Identity())); home != "" {
			home = filepath.Join(home, "import", hex.EncodeToString(sum[:16]))
		}
	} else {
		tree, err := s.openDestTree(o, a, open)
		if err != nil {
			return nil, err
		}
		d.store, home = tree, tree.StateDir()
	}
	d.scratch, err = scratchDir(home, o.dryRun, open)
	return d, err
}

// openDestTree opens or makes the Maildir that mail goes to. For a dry run one that
// is not there is made in a temporary directory.
func (s *session) openDestTree(o *options, a *config.Account, open *closers) (*maildir.Store, error) {
	to, b := s.treeOptions(a), *a
	record := s.readRecord(a.Maildir)
	switch _, err := os.Stat(a.Maildir); {
	case !o.dryRun:
		to.Create = true
	case errors.Is(err, fs.ErrNotExist) && (o.create || record.root() == ""):
		scratch, err := os.MkdirTemp("", "postbag-")
		if err != nil {
			return nil, err
		}
		open.add(removal(scratch))
		b.Maildir, to.Create = filepath.Join(scratch, "tree"), true
	default:
		to.ReadOnly = true
	}
	store, err := s.openRecorded(&b, to, record, o.create)
	if err != nil {
		return nil, err
	}
	open.add(store)
	if !o.dryRun {
		s.record(record, store)
	}
	return store, nil
}

// scratchDir makes a directory in home, or for a dry run where temporary files are,
// that goes when open is closed; what an import left there that was killed goes now.
func scratchDir(home string, dryRun bool, open *closers) (string, error) {
	if dryRun || home == "" {
		dir, err := os.MkdirTemp("", "postbag-")
		if err == nil {
			open.add(removal(dir))
		}
		return dir, err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", err
	}
	lock, err := export.Lock(filepath.Join(home, "import.lock"))
	if err != nil {
		return "", err
	}
	open.add(lock)
	dir := filepath.Join(home, "import.tmp")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	open.add(removal(dir))
	return dir, os.Mkdir(dir, 0o700)
}

// importFiles imports archives.
func (s *session) importFiles(o *options, paths []string, e endpoint, open *closers) (*sync.Report, error) {
	d, err := s.openDest(o, e, open)
	if err != nil {
		return nil, err
	}
	s.out.note("reading %s", count(len(paths), "file"))
	archive, err := export.OpenArchive(s.ctx, export.OpenOptions{
		Paths: paths, Stdin: cmp.Or[io.Reader](s.env.Stdin, strings.NewReader("")), Dialect: o.dialect, Digests: d.server == nil, Temp: d.scratch, Note: s.out.note,
	})
	if err != nil {
		return nil, err
	}
	open.add(archive)
	n, bytes := archive.Messages()
	s.out.note("found %s, %s", count(n, "message"), size(bytes))
	report, err := s.runImport(o, archive, d, open)
	if report == nil {
		return nil, err
	}
	for _, p := range archive.Problems() {
		report.Problems = append(report.Problems, archiveProblem(p, state.A))
	}
	if len(archive.Problems()) > 0 && report.Outcome == sync.Done {
		report.Outcome = sync.Partial
	}
	return report, err
}

// importTree imports a Maildir.
func (s *session) importTree(o *options, path string, e endpoint, open *closers) (*sync.Report, error) {
	tree, err := s.openToRead(path, s.treeOptions(&config.Account{}))
	if err != nil {
		return nil, err
	}
	open.add(tree)
	d, err := s.openDest(o, e, open)
	if err != nil {
		return nil, err
	}
	return s.runImport(o, rolesStore{tree, s.knownRoles(filepath.Join(tree.StateDir(), stateFile))}, d, open)
}

const (
	// importWindow is how many new messages are listed at a time: what is in the
	// archive is in memory already.
	importWindow = 5000
	// treeWorkers is how many mailboxes of a Maildir are written side by side: one
	// disk takes no more of them at a time.
	treeWorkers = 2
)

// runImport brings what a store has to the destination. The state is made for the
// occasion: what is there already is found by its content.
func (s *session) runImport(o *options, from mail.Store, d *dest, open *closers) (*sync.Report, error) {
	patterns, err := config.ParsePatterns(o.mailboxes)
	if err != nil {
		return nil, err
	}
	list, err := from.List(s.ctx)
	if err != nil {
		return nil, err
	}
	if err := patterns.Check(list); err != nil {
		return nil, err
	}
	routes, err := s.importRoutes(o, chosen(list, patterns), d)
	if err != nil {
		return nil, err
	}
	s.showRoutes(o, routes)
	db, err := state.Open(s.ctx, filepath.Join(d.scratch, stateFile), state.Options{Command: "import", Now: s.env.Now})
	if err != nil {
		return nil, err
	}
	open.add(db)
	display := s.display()
	defer display.Close()
	so := sync.Options{
		A: from, B: mapping.New(d.store, routes), Policy: sync.Import(), Journal: db, Command: "import",
		Match: matchRoutes(patterns, routes), Filter: filter(o.withFlags(&config.Account{}), s.env), DryRun: o.dryRun, Window: importWindow,
		FailRefused: d.account.Refused == config.RefusedFail, Batch: paced(d.account, state.B), Progress: display, Now: s.env.Now,
	}
	so.Workers = treeWorkers
	if d.server != nil {
		so.Workers = d.server.Connections()
	}
	return sync.Run(s.ctx, so)
}

// importRoutes plans which mailbox becomes which.
func (s *session) importRoutes(o *options, list []mail.MailboxInfo, d *dest) ([]mapping.Route, error) {
	there, err := d.store.List(s.ctx)
	if err != nil {
		return nil, err
	}
	if d.server != nil {
		return s.planRoutes(o, list, d.server, there)
	}
	return mapping.Plan(list, mapping.Dest{Listed: there}, o.rules, o.under)
}
