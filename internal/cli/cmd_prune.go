package cli

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/maildir"
	"postbag/sync"
)

func pruneCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "prune",
		Usage:     "remove for good what was deleted longer ago than keep_deleted",
		UsageText: "prune [ACCOUNT...]\nprune MAILDIR",
		Description: `Removes from a Maildir what the server deleted and a backup keeps, what lies in
its trash, and what is on record of the time before: all of it longer ago than
keep_deleted in the configuration, or --keep-deleted, says; without either,
nothing. What the server still has is never touched, and no server is asked. A
guard refuses what looks like too much.`,
		ArgsUsage: `  postbag prune work --keep-deleted 90d --dry-run
  postbag prune
  postbag prune ~/mail --keep-deleted 1y --mailbox 'Lists/*'`,
		Flags: flags(selectFlags(), []cli.Flag{
			&cli.StringFlag{Name: "keep-deleted", Category: catWhat, Usage: "keep what was deleted less than `AGE` ago, such as 90d, 2w or 1y; 0 keeps nothing, forever all of it"},
		}, guardFlags(), configFlags(), maildirFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) error {
			eps := s.endpoints(o)
			var list []endpoint
			if len(args) == 1 && !config.IsURL(args[0]) {
				e, err := eps.parse(args[0])
				if err != nil {
					return err
				}
				if !e.isServer() {
					list = []endpoint{{&config.Account{}, e.maildir}}
				}
			}
			if list == nil {
				for _, arg := range args {
					if config.IsURL(arg) {
						return usageError("prune", "name the account or the Maildir", "asks no server")
					}
				}
				var err error
				if list, err = eps.pairs("prune", args); err != nil {
					return err
				}
			}
			return s.each(o, list, func(a *config.Account, label string) int { return s.prune(o, a, label) })
		}),
	}
}

// prune prunes one tree and reports. It answers with the exit code.
func (s *session) prune(o *options, a *config.Account, label string) int {
	var open closers
	report, err := s.runPrune(o, a, label, &open)
	return s.reported(label, report, err, &open)
}

func (s *session) runPrune(o *options, a *config.Account, label string, open *closers) (*sync.Report, error) {
	keep := a.KeepDeleted
	if o.keepDeleted.Set {
		keep = o.keepDeleted
	}
	if !keep.Set {
		return nil, usageError("keep_deleted", `set it in the configuration, or give --keep-deleted, such as 90d`, "is not set, so that nothing may be removed")
	}
	patterns, err := config.ParsePatterns(o.mailboxes)
	if err != nil {
		return nil, err
	}
	t, err := s.pruneTree(o, a, open)
	if err != nil {
		return nil, err
	}
	if err := s.checkRecorded(t, patterns); err != nil {
		return nil, err
	}
	if keep.Forever {
		return &sync.Report{Command: "prune", DryRun: o.dryRun, Outcome: sync.Done}, nil
	}
	before := s.env.Now().Add(-keep.Duration())
	runs, err := t.state.Runs(s.ctx, runsEver)
	if err != nil {
		return nil, err
	}
	old := make(map[int64]bool)
	last := int64(0)
	for _, r := range runs {
		if keep.Days == 0 || r.Started.Before(before) {
			old[r.ID] = true
			last = max(last, r.ID)
		}
	}
	report, err := sync.Prune(s.ctx, sync.PruneOptions{
		B: t.store, Journal: t.state, Old: func(run int64) bool { return old[run] }, Match: patterns.Match,
		Guard: sync.Limits{Max: a.MaxDelete, Off: o.force}, DryRun: o.dryRun,
	})
	if err != nil || o.mailboxes != nil {
		return report, err
	}
	return report, s.pruneRest(o, t, label, before, last, keep.Days == 0)
}

// pruneTree opens the tree so that what is removed is removed for good.
func (s *session) pruneTree(o *options, a *config.Account, open *closers) (*tree, error) {
	b := *a
	b.KeepDeleted = config.Age{Set: true}
	if o.dryRun {
		return s.readTree(&b, open)
	}
	return s.changeTree(&b, "prune", open)
}

// pruneRest empties the trash and forgets what was before a time.
func (s *session) pruneRest(o *options, t *tree, label string, before time.Time, last int64, all bool) error {
	if all {
		before = time.Time{}
	}
	list, err := t.store.TrashBefore(s.ctx, before)
	if err == nil && !o.dryRun {
		_, err = t.store.EmptyTrash(s.ctx, before)
	}
	if err != nil {
		return err
	}
	var n int
	if o.dryRun {
		n, err = t.state.CountPast(s.ctx, last)
	} else if last > 0 {
		n, err = t.state.ForgetPast(s.ctx, last)
	}
	if err != nil {
		return err
	}
	s.tellPruned(label, list, n)
	return nil
}

func (s *session) tellPruned(label string, list []maildir.Trashed, entries int) {
	for _, one := range list {
		s.out.event(trashedOf("emptied", one, ""))
	}
	s.out.event(prunedEvent{"pruned", label, len(list), entries})
	if s.out.quiet {
		return
	}
	if len(list) > 0 {
		s.out.result("%strash: %s", labelled(label), trashSum(list))
	}
	if entries > 0 {
		s.out.result("%shistory: %s", labelled(label), entriesText(entries))
	}
}

func entriesText(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
