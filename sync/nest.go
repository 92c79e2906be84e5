package sync

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postbag/state"
)

// nest plans new names where mailboxes are below others. A mailbox has a place below
// another and a name in it: one that only went along with the mailbox above it has
// not been renamed, and is found and lost as if nothing had happened to it. What both
// sides did is merged mailbox by mailbox: one side may rename what the other moves.
type nest struct {
	in    TreeInput
	joins []*Join // in the order of their names
	// now are the joins by what they are called on each side, was by what they were
	// called when this was last written down.
	now, was [2]map[string]*Join
	winner   map[*Join]state.Side // whose name counts
	names    [2]map[*Join]string  // see final
	going    bool                 // there are renames to be done
}

func newNest(in TreeInput, joins []*Join) *nest {
	n := &nest{in: in, joins: joins, winner: make(map[*Join]state.Side, len(joins))}
	for s := range n.now {
		n.now[s], n.was[s], n.names[s] = make(map[string]*Join), make(map[string]*Join), make(map[*Join]string)
		for _, j := range joins {
			if j.Info[s] != nil {
				n.now[s][j.Info[s].Name] = j
			}
			old := j.Saved.Name[s]
			if k := n.was[s][old]; old != "" && (k == nil || k.Info[s] == nil) { // some are on record that are long gone
				n.was[s][old] = j
			}
		}
	}
	for _, j := range joins {
		for s := range j.Info {
			j.left[s] = n.leftBehind(j, state.Side(s))
		}
	}
	for _, j := range joins {
		if j.Info[0] != nil && j.Info[1] != nil {
			n.winner[j] = n.wins(j)
		}
	}
	n.uncross()
	return n
}

// above finds the innermost mailbox that name is below, and what is left of name.
func above(joins map[string]*Join, name string, fits func(*Join) bool) (k *Join, rest string) {
	for i := len(name) - 1; i > 0; i-- {
		if name[i] != '/' {
			continue
		}
		if k := joins[name[:i]]; k != nil && fits(k) {
			return k, name[i:]
		}
	}
	return nil, name
}

func anyJoin(*Join) bool { return true }

// carrier is the innermost mailbox that j was below on a side, and that is still there.
func (n *nest) carrier(j *Join, s state.Side) (k *Join, rest string) {
	return above(n.was[s], j.Saved.Name[s], func(k *Join) bool { return k != j && k.Info[s] != nil })
}

// base is the name that a mailbox on record has when nobody renamed it: what is above
// it takes it along.
func (n *nest) base(j *Join, s state.Side) string {
	if k, rest := n.carrier(j, s); k != nil {
		return k.Info[s].Name + rest
	}
	return j.Saved.Name[s]
}

func (j *Join) moved(s state.Side) bool {
	return j.Info[s] != nil && j.Saved.Name[s] != "" && j.Info[s].Name != j.Saved.Name[s]
}

// leftBehind reports whether a mailbox has its name still, while the one above it has
// another and none is in its place: a rename was cut off in the middle.
func (n *nest) leftBehind(j *Join, s state.Side) bool {
	k, _ := n.carrier(j, s)
	return k != nil && k.moved(s) && j.Info[s] != nil && !j.moved(s) && n.now[s][k.Saved.Name[s]] == nil
}

// renamed reports whether somebody renamed the mailbox itself on a side.
func (n *nest) renamed(j *Join, s state.Side) bool {
	if j.Info[s] == nil || j.Saved.Name[s] == "" || j.temporary(s) || j.left[s] {
		return false
	}
	base := n.base(j, s)
	return j.Info[s].Name != base && !(j.Info[s.Other()] == nil && isAside(j.Info[s].Name, base))
}

// livesOn reports whether a mailbox that only side s has was renamed there, by itself
// or with one above it that lives on. Then the other side did not mean to delete what
// it now is.
func (n *nest) livesOn(j *Join, s state.Side) bool {
	if n.renamed(j, s) {
		return true
	}
	k, _ := n.carrier(j, s)
	return k != nil && k.Info[s.Other()] == nil && k.moved(s) && n.livesOn(k, s)
}

// wins decides whose name of a mailbox counts: that of the side that renamed it, and
// side A's when both did.
func (n *nest) wins(j *Join) state.Side {
	for _, s := range []state.Side{state.A, state.B} {
		if j.temporary(s) {
			return s.Other()
		}
	}
	for _, s := range []state.Side{state.A, state.B} {
		if n.renamed(j, s) {
			return s
		}
	}
	for _, s := range []state.Side{state.A, state.B} {
		if k, _ := n.carrier(j, s); k != nil && k.Info[s.Other()] == nil && k.moved(s) {
			if n.livesOn(k, s) {
				return s
			}
			return s.Other()
		}
	}
	if !j.moved(state.A) && j.moved(state.B) {
		return state.B
	}
	return state.A
}

// uncross makes side A's names count where mailboxes would go below each other, or two
// would have one name.
func (n *nest) uncross() {
	for crossed := true; crossed; {
		crossed = n.uncollide()
		for _, j := range n.joins {
			var path []*Join
			k := j
			for k != nil && !slices.Contains(path, k) {
				path = append(path, k)
				k = n.parent(k)
			}
			if k != j { // no circle, or one that others are in
				continue
			}
			for _, k := range path {
				if n.winner[k] == state.B && !k.temporary(state.A) && k.Info[state.A] != nil && k.Info[state.B] != nil {
					n.winner[k], crossed = state.A, true
				}
			}
			n.names = [2]map[*Join]string{{}, {}}
		}
	}
}

// uncollide makes side A's name count of a mailbox that side B gave a name which side A
// gave another.
func (n *nest) uncollide() (found bool) {
	for _, j := range n.joins {
		if !n.pending(j, state.B) {
			continue
		}
		if k := n.now[state.B][n.final(j, state.B)]; k != nil && k.Info[state.A] != nil && n.winner[k] == state.B && !k.temporary(state.A) {
			n.winner[k], found = state.A, true
		}
	}
	if found {
		n.names = [2]map[*Join]string{{}, {}}
	}
	return found
}

// parent is the mailbox that j is to be below.
func (n *nest) parent(j *Join) *Join {
	s := n.side(j)
	k, _ := above(n.now[s], j.Info[s].Name, anyJoin)
	return k
}

// side is the one whose name of j counts.
func (n *nest) side(j *Join) state.Side {
	switch {
	case j.Info[0] == nil:
		return state.B
	case j.Info[1] == nil:
		return state.A
	}
	return n.winner[j]
}

// follows reports whether a side is to have the other's name for a mailbox.
func (n *nest) follows(j *Join, o state.Side) bool {
	s := o.Other()
	return j.Info[0] != nil && j.Info[1] != nil && n.winner[j] == s && n.in.Policy.May[o].Mailboxes && !n.in.Stuck[o][j.Record.ID] &&
		(j.moved(s) || j.moved(o) || j.temporary(o)) && n.agreed(j)
}

// agreed reports whether both sides had a mailbox in the same place. Where they did
// not, because one could not be renamed once, each keeps its name.
func (n *nest) agreed(j *Join) bool {
	if j.Saved.Name[0] == "" || j.Saved.Name[1] == "" {
		return false
	}
	ka, a := above(n.was[0], j.Saved.Name[0], anyJoin)
	kb, b := above(n.was[1], j.Saved.Name[1], anyJoin)
	return ka == kb && a == b || j.temporary(state.A) || j.temporary(state.B)
}

// final is what a mailbox that a side has is to be called there in the end.
func (n *nest) final(j *Join, o state.Side) string {
	if name, ok := n.names[o][j]; ok {
		return name
	}
	from := o
	if n.follows(j, o) {
		from = o.Other()
	}
	name := j.Info[from].Name
	n.names[o][j] = j.Info[o].Name // where names go in a circle all the same, it stays
	if k, rest := above(n.now[from], name, anyJoin); k != nil {
		at := o
		if k.Info[o] == nil {
			at = from
		}
		name = n.final(k, at) + rest
	}
	n.names[o][j] = name
	return name
}

// pending reports whether a side is to give a mailbox another name.
func (n *nest) pending(j *Join, o state.Side) bool {
	return n.follows(j, o) && n.final(j, o) != j.Info[o].Name
}

// settled reports whether what j is to be below has its last name.
func (n *nest) settled(j *Join, o state.Side) bool {
	s := o.Other()
	k, _ := above(n.now[s], j.Info[s].Name, func(k *Join) bool { return k.Info[o] != nil })
	return k == nil || n.final(k, o) == k.Info[o].Name
}

// plan sets the renames that can be done now; what is in the way of others goes first.
// Where all are in each other's way, one mailbox gets out of it.
func (n *nest) plan() {
	type step struct {
		j *Join
		o state.Side
	}
	var blocked []step
	ready := false
	for _, j := range n.joins {
		for _, o := range []state.Side{state.A, state.B} {
			if !n.pending(j, o) || !n.settled(j, o) {
				continue
			}
			to := n.final(j, o)
			if n.inTheWay(j, o, to) != nil {
				blocked = append(blocked, step{j, o})
				continue
			}
			j.Rename[o], ready = to, true
		}
	}
	for i := 0; i < len(blocked) && !ready; i++ {
		ready = n.makeWay(blocked[i].j, blocked[i].o)
	}
	n.going = ready
}

// inTheWay is the mailbox for which j cannot have a name on a side yet: the one that
// has it, or that has the name of one that would go along, or that is above it and will
// have another name; j itself where the name is below its own.
func (n *nest) inTheWay(j *Join, o state.Side, to string) *Join {
	from := j.Info[o].Name
	if strings.HasPrefix(to, from+"/") {
		return j
	}
	if k := n.now[o][to]; k != nil {
		return k
	}
	if k, _ := above(n.now[o], to, anyJoin); k != nil && n.final(k, o) != k.Info[o].Name {
		return k
	}
	for _, k := range n.joins {
		if k.Info[o] == nil {
			continue
		}
		rest, below := strings.CutPrefix(k.Info[o].Name, to+"/")
		if below && n.now[o][from+"/"+rest] != nil && !strings.HasPrefix(k.Info[o].Name, from+"/") {
			return k
		}
	}
	return nil
}

// makeWay gives another name to what is in the way of j, or takes back what the other
// side called j.
func (n *nest) makeWay(j *Join, o state.Side) bool {
	s := o.Other()
	k := n.inTheWay(j, o, n.final(j, o))
	switch {
	case k.temporary(o) || n.in.Stuck[o][k.Record.ID]:
	case n.pending(k, o):
		if name := temporaryName(k.Record.ID); n.free(name) {
			k.Rename[o] = name
			return true
		}
	case n.final(k, o) != k.Info[o].Name: // it goes along with another
	case k.Create[s]: // new there, or about to be
		if back := j.Info[o].Name; n.in.Policy.May[s].Mailboxes && !j.temporary(o) && !n.in.Stuck[s][j.Record.ID] && n.inTheWay(j, s, back) == nil {
			j.Rename[s] = back
			return true
		}
	case k.Info[s] == nil && k.Record.ID != 0: // deleted there
		k.Rename[o] = n.aside(k.Info[o].Name)
		k.Record.Name[s] = k.Rename[o]
		return true
	}
	return false
}

// finished reports whether nothing is left to be done about a new name.
func (j *Join) finished() bool {
	if j.Info[0] != nil && j.Info[1] != nil {
		return j.Info[0].Name == j.Info[1].Name
	}
	return j.Create == [2]bool{} && j.anew == [2]bool{} && j.Record.Name[0] == j.Record.Name[1]
}

func (n *nest) free(name string) bool {
	return n.now[0][name] == nil && n.now[1][name] == nil && !n.in.Excluded(name)
}

// A mailbox has a temporary name while two change places. It tells whose it is: a run
// that is cut off leaves it behind.
const temporaryPrefix = "postbag-renaming-"

func temporaryName(id int64) string { return fmt.Sprint(temporaryPrefix, id) }

// temporaryID is the number of the record whose mailbox has a temporary name; 0 for
// any other name.
func temporaryID(name string) int64 {
	digits, _ := strings.CutPrefix(name, temporaryPrefix)
	id, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || name != temporaryName(id) {
		return 0
	}
	return id
}

func (j *Join) temporary(s state.Side) bool {
	return j.Record.ID != 0 && j.Info[s] != nil && temporaryID(j.Info[s].Name) == j.Record.ID
}

// aside is a free name for a mailbox that the other side deleted, and whose name is
// wanted for another.
func (n *nest) aside(name string) string {
	to := name + " (deleted)"
	for i := 2; !n.free(to); i++ {
		to = fmt.Sprintf("%s (deleted %d)", name, i)
	}
	return to
}

// isAside reports whether aside made name out of old.
func isAside(name, old string) bool {
	rest, ok := strings.CutPrefix(name, old+" (deleted")
	return ok && (rest == ")" || len(rest) > 2 && strings.Trim(rest, "0123456789") == " )")
}

// carried gives a record the names that it has since those above it have others, and
// reports whether it has any. names are the new ones by the old ones, on each side;
// what was left behind keeps its name until it went after them.
func carried(rec *state.Mailbox, names [2]map[string]string, left [2]bool) bool {
	was := rec.Name
	for s, name := range was {
		for i := len(name) - 1; i > 0 && !left[s]; i-- {
			if to := names[s][name[:i]]; to != "" && name[i] == '/' {
				rec.Name[s] = to + name[i:]
				break
			}
		}
	}
	if rec.Name != was {
		rec.Subscribed = state.Unknown
	}
	return rec.Name != was
}
