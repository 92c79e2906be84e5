package cli

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/internal/mapping"
	"postbag/state"
	"postbag/sync"
)

func migrateCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "migrate",
		Usage:     "move an account from one server to another",
		UsageText: "migrate FROM TO\nmigrate --csv FILE",
		Description: `Copies all mail from one server to another, straight, with flags, keywords and
dates; FROM is only read. Run it again until the day you switch: each run copies
what is new since, and carries flags and moves; with --mirror deletions, too.
What TO has already is found by its content and not sent again. A run that is cut
off is finished by the next one.

Mailboxes keep their names, but those with a role (Sent, Drafts, Trash, Junk,
Archive) go where TO has that role, with what is below them. --map names others.
--dry-run shows which mailbox becomes which, with the number of messages.

--csv names a list of such pairs: its columns are from, to and, for each side,
password_env, password_file or password_command with from_ or to_ before it, auth
likewise, and mailbox and map. Each pair is done as if by itself; the end tells
how each fared, and the exit code is the worst. Run the list again to finish.

FROM and TO are imaps://USER@HOST[:PORT], imap://USER@HOST[:PORT] for STARTTLS,
or accounts of the configuration. Flags that begin with --to- are for TO.`,
		ArgsUsage: `  postbag migrate imaps://me@old.example.org imaps://me@new.example.net \
    --password-command "pass show old" --to-password-command "pass show new"
  postbag migrate old new --dry-run
  postbag migrate --csv accounts.csv --jobs 4 --report result.csv
  postbag migrate old new --map 'INBOX/Clients/*=Clients/*' --map Spam=`,
		Flags: flags(selectFlags(), filterFlags(), []cli.Flag{gmailFlag()}, mapFlags(), listFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "mirror", Category: catWhat, Usage: "delete, too, what the source deleted (of backup: in the Maildir, into its trash, see keep_deleted; of migrate: on the second server)"},
			deleteMailboxesFlag(),
			subscriptionsFlag(),
			refusedFlag(),
			fixFlag(),
		}, guardFlags(), configFlags(), serverFlags(), secondFlags(), stateFlags(), monitorFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) error {
			if o.csv != "" {
				if len(args) > 0 {
					return usageError("migrate", "the list names the servers", "--csv does not go with %q", args[0])
				}
				return s.migrateList(o)
			}
			from, to, err := s.twoServers(o, args)
			if err != nil {
				return err
			}
			if code := s.watch.account(from, func() int { return s.migrate(o, from, to) }); code != exitDone {
				return exitError(code)
			}
			return nil
		}),
	}
}

// twoServers reads the arguments of a command between two servers.
func (s *session) twoServers(o *options, args []string) (from, to *config.Account, err error) {
	if len(args) != 2 {
		return nil, nil, usageError("migrate", "postbag migrate FROM TO", "takes two servers or accounts")
	}
	eps := s.endpoints(o)
	var sides [2]*config.Account
	for i, arg := range args {
		e, err := eps.parse(arg)
		if err != nil {
			return nil, nil, err
		}
		if !e.isServer() {
			return nil, nil, usageError("migrate", "postbag restore MAILDIR SERVER puts a Maildir on a server", "%s is a Maildir, where a server is wanted", arg)
		}
		sides[i] = e.account
	}
	from, to = o.withFlags(sides[0]), o.to.withFlags(sides[1])
	set(&to.Refused, o.refused)
	set(&to.Fix, o.fix)
	set(&to.LimitMessages, o.pace)
	set(&to.LimitDayUp, o.dayUp)
	set(&to.Gmail, o.gmail)
	if from.Server.Identity() == to.Server.Identity() {
		return nil, nil, usageError("migrate", "", "%s would be copied to itself", from.Server)
	}
	return from, to, nil
}

// migrate runs one migration and reports. It answers with the exit code.
func (s *session) migrate(o *options, from, to *config.Account) int {
	var open closers
	display := s.display()
	report, err := s.runMigrate(o, from, to, display, &open)
	display.Close()
	return s.reported("", report, err, &open)
}

func (s *session) runMigrate(o *options, from, to *config.Account, progress sync.Progress, open *closers) (*sync.Report, error) {
	patterns, err := config.ParsePatterns(from.Mailboxes)
	if err != nil {
		return nil, err
	}
	db, err := s.pairState(o, "migrate", [2]string{from.Server.Identity(), to.Server.Identity()}, open)
	if err != nil {
		return nil, err
	}
	source, err := s.openServer(from, o.trace, open)
	if err != nil {
		return nil, err
	}
	dest, err := s.openServer(to, "", open)
	if err != nil {
		return nil, err
	}
	o.gmail = cmp.Or(o.gmail, from.Gmail)
	useLabels(source, o.gmail, patterns)
	useLabels(dest, to.Gmail, nil)
	a := &remembering{Store: &checkedStore{Store: source, patterns: patterns, more: nothingMore,
		listed: func(list []mail.MailboxInfo) { s.tellViews(o.dryRun, list, patterns) }}}
	b := &remembering{Store: dest}
	routes, err := s.routes(o, a, b, dest, db, patterns)
	if err != nil {
		return nil, err
	}
	s.showRoutes(o, routes)
	if err := s.checkRoom(dest, to, db, routes); err != nil {
		return nil, err
	}
	policy := sync.Migrate()
	if from.Mirror {
		policy = withMailboxDeletion(sync.Mirror(), from)
		policy.Name = "migrate --mirror"
	}
	most, err := takes(s.ctx, o, dest)
	if err != nil {
		return nil, err
	}
	report, err := sync.Run(s.ctx, sync.Options{
		A: a, B: mapping.New(b, routes), Policy: policy, Journal: db, Command: policy.Name,
		Match: matchRoutes(patterns, routes), Filter: filter(from, s.env), DryRun: o.dryRun, Takes: [2]int64{state.B: most},
		Guard: sync.Limits{Max: from.MaxDelete, Off: o.force}, FailRefused: to.Refused == config.RefusedFail, Fix: to.Fix,
		Subscriptions: from.Subscriptions,
		Batch:         paced(to, state.B),
		Workers:       min(source.Connections(), dest.Connections()), Progress: progress, Now: s.env.Now,
	})
	if err == nil {
		err = s.estimate(report, db, state.B, from, to)
	}
	return report, err
}

// pairState opens the state of a pair of places of which none is ours to keep it
// in: in the user's own state directory. A dry run writes nothing there.
func (s *session) pairState(o *options, command string, ids [2]string, open *closers) (*state.DB, error) {
	path, err := s.pairPath(o, ids)
	if err != nil {
		return nil, err
	}
	so := state.Options{Accounts: ids, Command: command, Now: s.env.Now, ReadOnly: o.dryRun}
	if _, err := os.Stat(path); o.dryRun && errors.Is(err, fs.ErrNotExist) {
		scratch, err := os.MkdirTemp("", "postbag-")
		if err != nil {
			return nil, err
		}
		open.add(removal(scratch))
		path, so.ReadOnly = filepath.Join(scratch, stateFile), false
	}
	db, err := state.Open(s.ctx, path, so)
	if err != nil {
		return nil, err
	}
	open.add(db)
	s.out.note("the state is %s", path)
	return db, nil
}

// pairPath is where the state of a pair of places is.
func (s *session) pairPath(o *options, ids [2]string) (string, error) {
	if o.state != "" {
		return o.state, nil
	}
	dir := s.env.stateDir()
	if dir == "" {
		return "", usageError("--state", "set HOME or XDG_STATE_HOME, or name a file", "there is no place for the state")
	}
	sum := sha256.Sum256([]byte(ids[0] + "\n" + ids[1]))
	return filepath.Join(dir, "pairs", hex.EncodeToString(sum[:16])+".db"), nil
}

// routes plans which mailbox becomes which: those of the source that are chosen,
// and those that the state knows, which may have been renamed since.
func (s *session) routes(o *options, source, listed *remembering, dest *imapstore.Store, db *state.DB, patterns *config.Patterns) ([]mapping.Route, error) {
	list, err := source.ListNow(s.ctx)
	if err != nil {
		return nil, err
	}
	there, err := listed.ListNow(s.ctx)
	if err != nil {
		return nil, err
	}
	records, err := db.Mailboxes(s.ctx)
	if err != nil {
		return nil, err
	}
	var chosen []mail.MailboxInfo
	have := map[string]bool{}
	for _, info := range list {
		if have[info.Name] = true; patterns.Match(info) {
			chosen = append(chosen, info)
		}
	}
	for _, r := range records {
		if name := r.Name[state.A]; name != "" && !have[name] {
			have[name] = true
			chosen = append(chosen, mail.MailboxInfo{Name: name, Use: r.Use, Messages: -1, Bytes: -1})
		}
	}
	return s.planRoutes(o, chosen, dest, there)
}

// planRoutes plans where mailboxes go on a server that lists what is there.
func (s *session) planRoutes(o *options, chosen []mail.MailboxInfo, dest *imapstore.Store, there []mail.MailboxInfo) ([]mapping.Route, error) {
	names := map[string]bool{}
	for _, info := range there {
		names[info.Name] = true
	}
	fits := func(name string) error {
		if names[name] {
			return nil
		}
		return dest.NameError(s.ctx, name)
	}
	d := mapping.Dest{Listed: there, Fits: fits, Fold: dest.FoldsNames(), Archive: o.gmail != config.GmailPlain, Labels: dest.HasLabels()}
	return mapping.Plan(chosen, d, o.rules, o.under)
}

// matchRoutes selects the mailboxes that are chosen and not left out by a rule.
func matchRoutes(patterns *config.Patterns, routes []mapping.Route) func(mail.MailboxInfo) bool {
	out := map[string]bool{}
	for _, r := range routes {
		out[r.From] = r.To == ""
	}
	return func(info mail.MailboxInfo) bool { return patterns.Match(info) && !out[info.Name] }
}

// showRoutes tells which mailbox becomes which: all of them in a dry run, else
// those whose names change.
func (s *session) showRoutes(o *options, routes []mapping.Route) {
	for _, r := range routes {
		s.out.event(routeEvent{Event: "route", Mailbox: valid(r.From), To: valid(r.To), By: string(r.Why), Reason: valid(r.Reason),
			Messages: known(r.Messages), Bytes: known(r.Bytes)})
		text := fmt.Sprintf("%s -> %s (%s)", r.From, r.To, r.Why)
		switch {
		case r.To == "":
			text = r.From + ": left out"
		case r.Why == mapping.ByName && r.From == r.To:
			text = r.From
		case r.Reason != "":
			text = fmt.Sprintf("%s -> %s (%s)", r.From, r.To, r.Reason)
		}
		var held []string
		if r.Messages >= 0 {
			held = append(held, count(r.Messages, "message"))
		}
		if r.Bytes >= 0 {
			held = append(held, size(r.Bytes))
		}
		if len(held) > 0 {
			text += ": " + strings.Join(held, ", ")
		}
		switch {
		case o.dryRun && !s.out.quiet:
			s.out.result("%s", text)
		case r.Why == mapping.Changed:
			s.out.warn("warning: %s", text)
		default:
			s.out.note("%s", text)
		}
	}
}

func known[T int | int64](n T) *T {
	if n < 0 {
		return nil
	}
	return &n
}

// checkRoom refuses a migration that cannot fit: when what the source has and was
// not copied yet is more than the destination has room for.
func (s *session) checkRoom(dest *imapstore.Store, to *config.Account, db *state.DB, routes []mapping.Route) error {
	quota, err := dest.Quota(s.ctx)
	if err != nil || quota.Limit < 0 {
		return err
	}
	counts, err := db.Counts(s.ctx)
	if err != nil {
		return err
	}
	var want, have int64
	for _, r := range routes {
		if r.To != "" && r.Bytes > 0 {
			want += r.Bytes
		}
	}
	for _, c := range counts {
		have += c.Bytes
	}
	room := quota.Limit - quota.Used
	if missing := want - have; missing <= room {
		s.out.note("%s takes %s more", to.Server, size(room))
		return nil
	}
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindQuota, Op: to.Server.String(),
		Err:  fmt.Errorf("%s are to be copied, and there is room for %s (%s of %s are used)", size(want-have), size(max(room, 0)), size(quota.Used), size(quota.Limit)),
		Hint: "nothing was copied: make room there, or copy less with --mailbox, --since or --smaller"}
}

// stateDir is the directory for states and records of the user; "" when there is no
// home for it.
func (env *Env) stateDir() string {
	dir, ok := env.LookupEnv("XDG_STATE_HOME")
	if !ok || !filepath.IsAbs(dir) {
		if !filepath.IsAbs(env.Home) {
			return ""
		}
		dir = filepath.Join(env.Home, ".local", "state")
	}
	return filepath.Join(dir, "postbag")
}
