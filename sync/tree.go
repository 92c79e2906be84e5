package sync

import (
	"cmp"
	"maps"
	"path"
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
	// Stuck are the records whose mailbox this run could not rename.
	Stuck [2]map[int64]bool
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
	// anew says that the mailbox, deleted on this side, lives on as what it is on the
	// other, as if this side had never had it.
	anew [2]bool
	left [2]bool // see leftBehind
	// replaced says that the side which lacks it has another one of its name.
	replaced bool
}

// PlanTree joins both sides' mailboxes with the records, by name, then by object
// id where a name vanished (a renamed mailbox). Where a side lacks a mailbox that
// the policy lets it have, it is to be created; one that the state saw on that
// side before is not: it was deleted there. A one-way copy needs it all the same,
// for what is yet to come. The joins come in the order of their
// names. No mailbox is ever deleted by this plan.
func PlanTree(in TreeInput) []Join {
	t := newTree(in)
	for s := range in.Listed {
		for i := range in.Listed[s] {
			if info := &in.Listed[s][i]; !info.NoSelect && info.Err == nil {
				t.join(state.Side(s), info)
			}
		}
	}
	t.merge()
	byName := func(a, b *Join) int {
		return cmp.Or(cmp.Compare(joinName(a), joinName(b)), cmp.Compare(a.Record.ID, b.Record.ID))
	}
	joins := slices.SortedFunc(maps.Values(t.joins), byName)
	n := newNest(in, joins)
	for _, j := range joins {
		t.finish(j, n)
	}
	n.plan()
	for _, j := range joins {
		n.keepPlace(j)
		t.taken(j, n)
	}
	slices.SortFunc(joins, byName)
	list := make([]Join, len(joins))
	for i, j := range joins {
		list[i] = *j
	}
	return list
}

func joinName(j *Join) string { return cmp.Or(j.Record.Name[0], j.Record.Name[1]) }

type tree struct {
	in    TreeInput
	joins map[*state.Mailbox]*Join
	// byName and byObject are the records by what each side had, in their order.
	byName, byObject [2]map[string][]*state.Mailbox
	names            [2]map[string]bool // as listed
}

func newTree(in TreeInput) *tree {
	t := &tree{in: in, joins: make(map[*state.Mailbox]*Join)}
	for s := range t.byName {
		t.byName[s], t.byObject[s] = make(map[string][]*state.Mailbox), make(map[string][]*state.Mailbox)
		for _, r := range in.Records {
			t.byName[s][r.Name[s]] = append(t.byName[s][r.Name[s]], r)
			t.byObject[s][r.ObjectID[s]] = append(t.byObject[s][r.ObjectID[s]], r)
		}
		t.names[s] = make(map[string]bool, len(in.Listed[s]))
		for _, info := range in.Listed[s] {
			t.names[s][info.Name] = true
		}
	}
	return t
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

// record is the record of a listed mailbox: the one of its name, unless it is surely
// another, else the one whose mailbox was renamed, else that of the other side's
// mailbox of this name.
func (t *tree) record(s state.Side, info *mail.MailboxInfo) (rec *state.Mailbox, guess bool) {
	free := func(r *state.Mailbox) bool { return t.joins[r] == nil || t.joins[r].Info[s] == nil }
	if id := temporaryID(info.Name); id != 0 {
		for _, r := range t.in.Records {
			if r.ID == id && r.Name[s] != "" && !t.elsewhere(s, r, info) && free(r) {
				return r, false
			}
		}
	}
	for _, r := range t.byObject[s][info.ObjectID] {
		if info.ObjectID != "" && r.Name[s] != "" && (r.Name[s] == "INBOX") == (info.Name == "INBOX") && free(r) {
			return r, false
		}
	}
	named := t.named(s, info, free)
	if named == nil || named.Validity[s] != "" && named.Validity[s] != info.Validity {
		if r, sure := t.vanished(s, info); r != nil && r != named {
			return r, !sure
		}
	}
	if named != nil {
		return named, false
	}
	// The other side's mailbox of this name: it has never been here, or was just
	// renamed here and the run was cut off.
	for key, j := range t.joins {
		if old := j.Record.Name[s]; (old == "" || !t.listed(s, old)) && j.Info[s] == nil && j.Record.Name[s.Other()] == info.Name && !t.elsewhere(s, key, info) {
			return key, false
		}
	}
	for _, r := range t.in.Records {
		switch {
		case r.Name[s] == "" && r.Name[s.Other()] == info.Name:
			return r, false
		case r.Renaming[s] != info.Name && (r.Name[s] == "" || path.Base(r.Name[s]) != path.Base(info.Name)): // for most, and cheap
		case !free(r) || t.listed(s, r.Name[s]) || t.elsewhere(s, r, info):
		case r.Renaming[s] == info.Name || t.along(s, r) == info.Name:
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
	for _, r := range t.byName[s][info.Name] {
		if free(r) && !t.elsewhere(s, r, info) && (best == nil || against(r) < against(best)) {
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
// more, or for another mailbox, and which info was not proved not to be; sure when it
// is where that mailbox would have been taken along, or put aside by a run that was cut
// off. INBOX is never taken for another mailbox.
func (t *tree) vanished(s state.Side, info *mail.MailboxInfo) (first *state.Mailbox, sure bool) {
	for _, r := range t.in.Records {
		switch {
		case info.Validity == "" || info.Name == "INBOX" || r.Validity[s] != info.Validity || t.in.NotRenamed[s][Guess{r.ID, info.Name}],
			r.Name[s] == "" || r.Name[s] == "INBOX" || t.athome(s, r) || t.joins[r] != nil && t.joins[r].Info[s] != nil,
			t.in.Excluded != nil && t.in.Excluded(r.Name[s]):
		case t.along(s, r) == info.Name || r.Renaming[s] == info.Name:
			return r, true
		case first == nil:
			first = r
		}
	}
	return first, false
}

// along is the name that a mailbox on record has if it went along with the one above
// it, whose new name is known; "" when there is none.
func (t *tree) along(s state.Side, r *state.Mailbox) string {
	best, name := "", ""
	for k, j := range t.joins {
		rest, below := strings.CutPrefix(r.Name[s], k.Name[s]+"/")
		if below && k.Name[s] != "" && len(k.Name[s]) > len(best) && j.Info[s] != nil && j.Info[s].Name != k.Name[s] {
			best, name = k.Name[s], j.Info[s].Name+"/"+rest
		}
	}
	return name
}

// athome reports whether a mailbox of a record's name and validity is listed.
func (t *tree) athome(s state.Side, r *state.Mailbox) bool {
	return slices.ContainsFunc(t.in.Listed[s], func(i mail.MailboxInfo) bool {
		return i.Name == r.Name[s] && (i.Validity == r.Validity[s] || i.Validity == "")
	})
}

// elsewhere reports whether the mailbox on record is listed under another name
// than info's, whose name it had: by its identity, or by its validity, where that
// changed here, and is nobody's there.
func (t *tree) elsewhere(s state.Side, r *state.Mailbox, info *mail.MailboxInfo) bool {
	same := r.Validity[s] == "" || info.Validity == "" || info.Validity == r.Validity[s]
	if r.ObjectID[s] == "" && same || r.Name[s] == "INBOX" {
		return false
	}
	return slices.ContainsFunc(t.in.Listed[s], func(o mail.MailboxInfo) bool {
		switch {
		case o.Name == info.Name || o.Name == "INBOX":
			return false
		case r.ObjectID[s] != "" && o.ObjectID == r.ObjectID[s]:
			return true
		}
		return !same && o.Validity == r.Validity[s] &&
			!t.in.NotRenamed[s][Guess{r.ID, o.Name}] &&
			!slices.ContainsFunc(t.in.Records, func(k *state.Mailbox) bool { return k.Name[s] == o.Name && k.Validity[s] == o.Validity })
	})
}

func (t *tree) listed(s state.Side, name string) bool { return t.names[s][name] }

// finish decides what happens where a side lacks the mailbox.
func (t *tree) finish(j *Join, n *nest) {
	for s := range j.Info {
		if j.Info[s] != nil {
			if use := j.Info[s].Use; use != "" {
				j.Record.Use = use
			}
			continue
		}
		o := state.Side(1 - s)
		switch {
		case j.Saved.Name[o] == "" || j.Saved.Name[s] == "":
		case n.livesOn(j, o):
			j.Record.Name[s], j.Record.Validity[s], j.Record.Cursor[s], j.Record.Stamp[s] = "", "", "", ""
			j.anew[s] = true
		case j.Info[o].Name == j.Saved.Renaming[o]: // put aside, see makeWay
			j.Record.Name[s] = j.Info[o].Name
		default:
			j.Record.Name[s] = n.base(j, state.Side(s))
		}
		j.replaced = n.now[s][j.Record.Name[s]] != nil
		never := j.Record.Name[s] == ""
		if t.in.Policy.May[s].Mailboxes && (never || t.in.Policy.reads(o)) {
			if never {
				j.Record.Name[s] = j.Record.Name[o]
			}
			j.Create[s] = true
		}
	}
}

// taken leaves out a mailbox that is to be made under a name which this side has
// another mailbox of. Two mailboxes are never joined with one.
func (t *tree) taken(j *Join, n *nest) {
	for s := range j.Create {
		if k := n.occupant(j, state.Side(s)); k != nil && !n.going {
			j.Create[s], j.Taken[s] = false, true
		}
	}
}

// Vanished lists the records whose mailbox is on no side any more, under whatever
// name. That another mailbox has its name now makes no difference.
func Vanished(in TreeInput, joins []Join) []*state.Mailbox {
	joined := make(map[int64]bool, len(joins))
	for _, j := range joins {
		joined[j.Record.ID] = true
	}
	var list []*state.Mailbox
	for _, r := range in.Records {
		if r.Name != [2]string{} && !joined[r.ID] && !slices.ContainsFunc(r.Name[:], func(name string) bool { return name != "" && in.Excluded(name) }) {
			list = append(list, r)
		}
	}
	return list
}
