package sync

import (
	"cmp"
	"slices"
	"strings"

	"postbag/internal/mail"
	"postbag/state"
)

// TreeInput is what the name planner knows: the mailboxes on record, and those
// that each side lists now. Listings hold what the run may touch only: an
// excluded mailbox is in none, and its record is left alone.
type TreeInput struct {
	Policy  Policy
	Records []*state.Mailbox
	Listed  [2][]mail.MailboxInfo
	// Excluded says that the run leaves a name out, because it was not selected or
	// because a side cannot tell: its absence from a listing then means nothing.
	Excluded func(name string) bool
	// NotRenamed are guesses that were looked into, and are wrong.
	NotRenamed [2]map[Guess]bool
}

// Guess is that a mailbox on record is now called Name.
type Guess struct {
	Record int64
	Name   string
}

// Join is one mailbox of the run: its record, new or old, and each side as
// listed, nil where the side has none.
type Join struct {
	Record *state.Mailbox
	Saved  state.Mailbox // the record as it is in the state
	Info   [2]*mail.MailboxInfo
	Create [2]bool   // the mailbox is to be made on this side, under Record.Name
	Rename [2]string // the mailbox is to be renamed on this side, from Record.Name
	// Guess says that the listed mailbox of this side was taken for the record's,
	// renamed, by its validity alone: some of its messages must be looked at.
	Guess [2]bool
	// Taken says that the mailbox cannot be made on this side, since it has another
	// one of this name.
	Taken [2]bool
	// Failed is set by whoever carries the plan out and could not.
	Failed bool
}

// PlanTree joins both sides' mailboxes with the records, by name, then by object
// id where a name vanished (a renamed mailbox). Where a side lacks a mailbox that
// the policy lets it have, it is to be created; one that the state saw on that
// side before is not: it was deleted there. A one-way copy needs it all the same,
// for what is yet to come. The joins come in the order of their
// names. No mailbox is ever deleted by this plan.
func PlanTree(in TreeInput) []Join {
	t := tree{in: in, joins: make(map[*state.Mailbox]*Join)}
	for s := range in.Listed {
		for i := range in.Listed[s] {
			if info := &in.Listed[s][i]; !info.NoSelect && info.Err == nil {
				t.join(state.Side(s), info)
			}
		}
	}
	t.merge()
	for _, j := range t.joins {
		t.finish(j)
	}
	for _, j := range t.joins {
		t.makeRoom(j)
	}
	var list []Join
	for _, j := range t.joins {
		list = append(list, *j)
	}
	slices.SortFunc(list, func(a, b Join) int {
		return cmp.Or(cmp.Compare(joinName(&a), joinName(&b)), cmp.Compare(a.Record.ID, b.Record.ID))
	})
	return list
}

func joinName(j *Join) string { return cmp.Or(j.Record.Name[0], j.Record.Name[1]) }

type tree struct {
	in    TreeInput
	joins map[*state.Mailbox]*Join
}

// rename puts the name that a side has for the mailbox on record. A subscription
// belongs to a name: what both agreed on does not hold for another one.
func (j *Join) rename(s state.Side, name string) {
	if j.Record.Name[s] != name {
		j.Record.Name[s], j.Record.Subscribed = name, state.Unknown
	}
}

// join finds the record that a listed mailbox belongs to, or makes one.
func (t *tree) join(s state.Side, info *mail.MailboxInfo) {
	key, guess := t.record(s, info)
	j := t.joins[key]
	if j == nil {
		rec := *key
		j = &Join{Record: &rec, Saved: *key}
		t.joins[key] = j
	}
	j.rename(s, info.Name)
	j.Info[s] = info
	j.Guess[s] = guess
}

// record is the record of a listed mailbox: the one of its name, else the one
// whose mailbox was renamed, else that of the other side's mailbox of this name.
func (t *tree) record(s state.Side, info *mail.MailboxInfo) (rec *state.Mailbox, guess bool) {
	free := func(r *state.Mailbox) bool { return t.joins[r] == nil || t.joins[r].Info[s] == nil }
	for _, r := range t.in.Records {
		if info.ObjectID != "" && r.ObjectID[s] == info.ObjectID && r.Name[s] != "" && (r.Name[s] == "INBOX") == (info.Name == "INBOX") && free(r) {
			return r, false
		}
	}
	if r := t.named(s, info, free); r != nil {
		return r, false
	}
	if r := t.vanished(s, info); r != nil {
		return r, true
	}
	// The other side's mailbox of this name: it has never been here, or was just
	// renamed here and the run was cut off.
	for key, j := range t.joins {
		if old := j.Record.Name[s]; (old == "" || !t.listed(s, old)) && j.Info[s] == nil && j.Record.Name[s.Other()] == info.Name {
			return key, false
		}
	}
	for _, r := range t.in.Records {
		if r.Name[s] == "" && r.Name[s.Other()] == info.Name {
			return r, false
		}
	}
	return &state.Mailbox{}, false
}

// named is the record of a name: of several, after a rename that was cut off, the
// one that knows least against it.
func (t *tree) named(s state.Side, info *mail.MailboxInfo, free func(*state.Mailbox) bool) *state.Mailbox {
	against := func(r *state.Mailbox) int {
		n := 0
		if r.ObjectID[s] != "" && info.ObjectID != "" {
			n += 2
		}
		if r.Validity[s] != "" && r.Validity[s] != info.Validity {
			n++
		}
		return n
	}
	var best *state.Mailbox
	for _, r := range t.in.Records {
		if r.Name[s] == info.Name && free(r) && !t.elsewhere(s, r, info) && (best == nil || against(r) < against(best)) {
			best = r
		}
	}
	return best
}

// merge joins a mailbox of one side that no record knows with the other side's of
// the same name, when that one's record has lost its own: it was renamed, and a run
// that made it under the new name here was cut off.
func (t *tree) merge() {
	byName := [2]map[string]*Join{{}, {}}
	for _, j := range t.joins {
		for s, info := range j.Info {
			if info != nil && j.Record.ID != 0 && j.Info[1-s] == nil {
				byName[s][info.Name] = j
			}
		}
	}
	for key, j := range t.joins {
		for s, info := range j.Info {
			if info == nil || j.Record.ID != 0 || j.Info[1-s] != nil {
				continue
			}
			if to := byName[1-s][info.Name]; to != nil && to.Info[s] == nil {
				to.Info[s] = info
				to.rename(state.Side(s), info.Name)
				delete(t.joins, key)
			}
		}
	}
}

// vanished is the first record of info's validity whose name is not listed any
// more, and which info was not proved not to be. INBOX is never taken for another
// mailbox.
func (t *tree) vanished(s state.Side, info *mail.MailboxInfo) *state.Mailbox {
	for _, r := range t.in.Records {
		switch {
		case info.Validity == "" || r.Validity[s] != info.Validity || t.in.NotRenamed[s][Guess{r.ID, info.Name}],
			r.Name[s] == "" || r.Name[s] == "INBOX" || t.listed(s, r.Name[s]) || t.joins[r] != nil && t.joins[r].Info[s] != nil,
			t.in.Excluded != nil && t.in.Excluded(r.Name[s]):
		default:
			return r
		}
	}
	return nil
}

// elsewhere reports whether the mailbox on record is listed under another name
// than info's, whose name it had.
func (t *tree) elsewhere(s state.Side, r *state.Mailbox, info *mail.MailboxInfo) bool {
	return r.ObjectID[s] != "" && r.Name[s] != "INBOX" && slices.ContainsFunc(t.in.Listed[s], func(o mail.MailboxInfo) bool {
		return o.ObjectID == r.ObjectID[s] && o.Name != info.Name
	})
}

func (t *tree) listed(s state.Side, name string) bool {
	return slices.ContainsFunc(t.in.Listed[s], func(i mail.MailboxInfo) bool { return i.Name == name })
}

// crossed reports whether a new name on side B is below a mailbox that side A
// renamed at the same time: the two may have gone one below the other. Side A's
// name for it wins.
func (t *tree) crossed(name string) bool {
	for _, j := range t.joins {
		old := j.Saved.Name[state.A]
		if old != "" && j.Info[state.A] != nil && j.Info[state.A].Name != old && strings.HasPrefix(name, old+"/") {
			return true
		}
	}
	return false
}

// finish decides what happens where a side lacks the mailbox, or has it under
// another name. Of two new names side A's wins.
func (t *tree) finish(j *Join) {
	for s, info := range j.Info {
		o := 1 - s
		if info == nil || j.Info[o] == nil || j.Saved.Name[s] == "" || j.Saved.Name[s] != j.Saved.Name[o] || info.Name == j.Saved.Name[s] {
			continue
		}
		if state.Side(s) == state.B && t.crossed(info.Name) {
			o, info = s, j.Info[o]
		}
		if t.in.Policy.May[o].Mailboxes && info.Name != j.Info[o].Name && !t.listed(state.Side(o), info.Name) {
			j.Rename[o] = info.Name
			break
		}
	}
	for s := range j.Info {
		if j.Info[s] != nil {
			if use := j.Info[s].Use; use != "" {
				j.Record.Use = use
			}
			continue
		}
		if o := 1 - s; j.Saved.Name[o] != "" && j.Info[o] != nil && j.Record.Name[o] != j.Saved.Name[o] {
			// Renamed there and deleted here: it lives on under its new name.
			j.Record.Name[s], j.Record.Validity[s], j.Record.Cursor[s], j.Record.Stamp[s] = "", "", "", ""
		}
		never := j.Record.Name[s] == ""
		if t.in.Policy.May[s].Mailboxes && (never || t.in.Policy.reads(state.Side(1-s))) {
			if never {
				j.Record.Name[s] = j.Record.Name[1-s]
			}
			j.Create[s] = true
		}
	}
}

// makeRoom sees to it that a mailbox which is to be made finds its name free. One
// that has it, and another name on the other side, because it could not be renamed
// once, or was renamed on the copy of a backup, now gets that name. Two mailboxes are
// never joined with one.
func (t *tree) makeRoom(j *Join) {
	for s := range j.Create {
		if !j.Create[s] {
			continue
		}
		for _, k := range t.joins {
			if k.Info[s] == nil || k.Info[s].Name != j.Record.Name[s] || k.Rename[s] != "" {
				continue
			}
			if o := k.Info[1-s]; o != nil && o.Name != k.Info[s].Name && !t.listed(state.Side(s), o.Name) {
				k.Rename[s] = o.Name
			} else {
				j.Create[s], j.Taken[s] = false, true
			}
		}
	}
}

// Vanished lists the records whose mailbox is on no side any more, under whatever
// name.
func Vanished(in TreeInput, joins []Join) []*state.Mailbox {
	joined := make(map[int64]bool, len(joins))
	for _, j := range joins {
		joined[j.Record.ID] = true
	}
	var list []*state.Mailbox
	for _, r := range in.Records {
		if r.Name != [2]string{} && !joined[r.ID] && !in.has(r, state.A) && !in.has(r, state.B) {
			list = append(list, r)
		}
	}
	return list
}

// has reports whether a side has a record's mailbox, or may have it.
func (in TreeInput) has(r *state.Mailbox, s state.Side) bool {
	name := r.Name[s]
	return name != "" && (in.Excluded(name) ||
		slices.ContainsFunc(in.Listed[s], func(i mail.MailboxInfo) bool { return i.Name == name }))
}
