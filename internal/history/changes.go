package history

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// Changes is what a run found changed in one mailbox of the account.
type Changes struct {
	Mailbox  string // its last name
	New      int    // came, from elsewhere
	MovedIn  int    // came from another mailbox
	MovedOut int    // went to another mailbox
	Gone     int    // went
	Flags    int    // other flags
}

// Zero reports whether nothing changed.
func (c Changes) Zero() bool { c.Mailbox = ""; return c == Changes{} }

// RunChanges is what one run found, by mailbox.
type RunChanges struct {
	Run       state.Run
	Mailboxes []Changes
}

// Log is what each run found changed that match chooses mailboxes of, the newest
// first, without runs that found nothing. Its memory follows what was moved, deleted
// or got other flags, not the size of the account.
func Log(ctx context.Context, db *state.DB, match func(mail.MailboxInfo) bool) ([]RunChanges, error) {
	l := &logger{db: db, runs: make(map[int64]map[int64]*Changes), left: make(map[int64]map[identity][]int64), came: make(map[int64][]arrival)}
	came, gone, err := db.Plain(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range came {
		l.of(e.Run, e.Mailbox).New += e.Messages
	}
	for _, e := range gone {
		l.of(e.Run, e.Mailbox).Gone += e.Messages
	}
	if err := l.chains(ctx); err != nil {
		return nil, err
	}
	l.pair()
	return l.finish(ctx, match)
}

// identity is what tells that a message which came is one that left.
type identity struct {
	digest mail.Digest
	id     mail.MessageID
	size   int64
}

func identityOf(id mail.Identity, size int64) identity {
	if id.Digest.Known() {
		return identity{digest: id.Digest}
	}
	return identity{id: id.MessageID, size: size}
}

// arrival is a message that came to a mailbox in a run.
type arrival struct {
	box int64
	id  identity
}

type logger struct {
	db   *state.DB
	runs map[int64]map[int64]*Changes
	left map[int64]map[identity][]int64 // by run: the mailboxes that messages left
	came map[int64][]arrival
}

func (l *logger) of(run, box int64) *Changes {
	if l.runs[run] == nil {
		l.runs[run] = make(map[int64]*Changes)
	}
	if l.runs[run][box] == nil {
		l.runs[run][box] = &Changes{}
	}
	return l.runs[run][box]
}

// version is how a row was for some time.
type version struct {
	until int64 // the run that ended it; 0: it lasts
	box   int64
	there bool
	flags mail.Flags
	id    identity
}

// chains goes through the rows that changed, each with all that it was.
func (l *logger) chains(ctx context.Context) error {
	var ids []int64
	versions := make(map[int64][]version)
	born := make(map[int64]int64)
	flush := func() error {
		rows, err := l.db.Rows(ctx, ids)
		if err != nil {
			return err
		}
		for _, r := range rows {
			versions[r.ID] = append(versions[r.ID], version{0, r.Mailbox, r.Alive(state.A), r.Flags[state.A], identityOf(r.Ident, r.Size)})
		}
		for _, id := range ids {
			l.chain(born[id], versions[id])
		}
		ids = ids[:0]
		clear(versions)
		clear(born)
		return nil
	}
	err := l.db.PastAfter(ctx, 0, func(p *state.Past) error {
		if versions[p.ID] == nil {
			if len(ids) == 500 {
				if err := flush(); err != nil {
					return err
				}
			}
			ids = append(ids, p.ID)
			born[p.ID] = p.Born
		}
		versions[p.ID] = append(versions[p.ID], version{p.Until, p.Mailbox, p.There[state.A], p.Flags[state.A], identityOf(p.Ident, p.Size)})
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// chain notes what befell one row.
func (l *logger) chain(born int64, list []version) {
	if first := list[0]; first.there {
		l.of(born, first.box).New++
	}
	for i, was := range list {
		if was.until == 0 {
			break
		}
		var is version
		if i+1 < len(list) {
			is = list[i+1]
		}
		moved := was.there && is.there && was.box != is.box
		if was.there && (!is.there || moved) {
			if l.left[was.until] == nil {
				l.left[was.until] = make(map[identity][]int64)
			}
			l.left[was.until][was.id] = append(l.left[was.until][was.id], was.box)
		}
		if is.there && (!was.there || moved) {
			l.came[was.until] = append(l.came[was.until], arrival{is.box, is.id})
		}
		if was.there && is.there && !was.flags.Equal(is.flags) {
			l.of(was.until, is.box).Flags++
		}
	}
}

// pair finds the moves among what came and what left.
func (l *logger) pair() {
	for run, list := range l.came {
		left := l.left[run]
		for _, a := range list {
			from := left[a.id]
			i := slices.IndexFunc(from, func(box int64) bool { return box != a.box })
			switch {
			case i >= 0:
				l.of(run, from[i]).MovedOut++
				l.of(run, a.box).MovedIn++
				left[a.id] = slices.Delete(slices.Clone(from), i, i+1)
			case len(from) > 0: // the same mailbox, numbered anew
				left[a.id] = from[1:]
			default:
				l.of(run, a.box).New++
			}
		}
	}
	for run, left := range l.left {
		for _, boxes := range left {
			for _, box := range boxes {
				l.of(run, box).Gone++
			}
		}
	}
}

func (l *logger) finish(ctx context.Context, match func(mail.MailboxInfo) bool) ([]RunChanges, error) {
	names, err := l.names(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := l.db.Runs(ctx, allRuns)
	if err != nil {
		return nil, err
	}
	var out []RunChanges
	for _, run := range runs {
		one := RunChanges{Run: run}
		for _, box := range slices.Sorted(maps.Keys(l.runs[run.ID])) {
			c := *l.runs[run.ID][box]
			info := names[box]
			if c.Mailbox = info.Name; !c.Zero() && match(info) {
				one.Mailboxes = append(one.Mailboxes, c)
			}
		}
		slices.SortFunc(one.Mailboxes, func(a, b Changes) int { return cmp.Compare(a.Mailbox, b.Mailbox) })
		if one.Mailboxes != nil {
			out = append(out, one)
		}
	}
	return out, nil
}

// names are the last names of the mailboxes, also of those that are forgotten.
func (l *logger) names(ctx context.Context) (map[int64]mail.MailboxInfo, error) {
	names := make(map[int64]mail.MailboxInfo)
	past, err := l.db.PastMailboxes(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range past {
		if name := cmp.Or(p.Name[state.A], p.Name[state.B]); name != "" {
			names[p.ID] = mail.MailboxInfo{Name: name, Use: p.Use}
		}
	}
	records, err := l.db.Mailboxes(ctx)
	for _, r := range records {
		if name := cmp.Or(r.Name[state.A], r.Name[state.B]); name != "" {
			names[r.ID] = mail.MailboxInfo{Name: name, Use: r.Use}
		}
	}
	return names, err
}
