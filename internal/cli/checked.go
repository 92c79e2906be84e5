package cli

import (
	"context"
	"slices"
	gosync "sync"

	"postbag/internal/config"
	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// checkedStore is a server that refuses, when it is first listed and before
// anything is done, what was misspelt: mailbox patterns that choose nothing, and
// a trash that is not there.
type checkedStore struct {
	mail.Store
	patterns *config.Patterns
	trash    string
	// more lists what the server will have besides: the other side's mailboxes,
	// where they may be made.
	more func(context.Context) ([]mail.MailboxInfo, error)
	// listed, when set, is told the first listing.
	listed func([]mail.MailboxInfo)
	once   gosync.Once
}

func nothingMore(context.Context) ([]mail.MailboxInfo, error) { return nil, nil }

// checked is an account's server for a run under a policy.
func checked(server mail.Store, local *tree, patterns *config.Patterns, a *config.Account, p sync.Policy) *checkedStore {
	c := &checkedStore{Store: server, patterns: patterns, more: nothingMore}
	if p.May[state.A].Mailboxes {
		c.more = local.store.List
	}
	if p.May[state.A].Deletes {
		c.trash = a.Trash
	}
	return c
}

// Unwrap is the server itself, for what else it can do.
func (c *checkedStore) Unwrap() mail.Store { return c.Store }

// List is the server's list.
func (c *checkedStore) List(ctx context.Context) ([]mail.MailboxInfo, error) {
	list, err := c.Store.List(ctx)
	if err == nil {
		c.once.Do(func() {
			if err = c.check(ctx, list); err == nil && c.listed != nil {
				c.listed(list)
			}
		})
	}
	return list, err
}

func (c *checkedStore) check(ctx context.Context, list []mail.MailboxInfo) error {
	err := c.checkAll(list)
	if err == nil {
		return nil
	}
	more, listErr := c.more(ctx)
	if listErr != nil {
		return listErr
	}
	if len(more) > 0 {
		err = c.checkAll(slices.Concat(list, more))
	}
	return err
}

func (c *checkedStore) checkAll(list []mail.MailboxInfo) error {
	if err := c.patterns.Check(list); err != nil || c.trash == "" {
		return err
	}
	use := mail.ParseSpecialUse(c.trash)
	names := make([]string, 0, len(list))
	for _, info := range list {
		if (use != "" && info.Use == use || use == "" && info.Name == c.trash) && !info.NoSelect && info.Err == nil {
			return nil
		}
		names = append(names, info.Name)
	}
	if use != "" {
		return usageError("trash "+c.trash, "the server may not tell roles: give the mailbox's name", "no mailbox has this role")
	}
	hint := "the command mailboxes lists what is there"
	if near := config.Nearest(c.trash, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return usageError("trash "+c.trash, hint, "there is no such mailbox")
}
