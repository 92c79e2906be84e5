package sync

import (
	"slices"
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
	decided  [2]map[string]*Join  // by what is on record that they are to be called
	winner   map[*Join]state.Side // whose name counts; may be onRecord
	yielded  map[*Join]bool       // the side that renamed it takes that back, see makeWay
	names    [2]map[*Join]string  // see final
	going    bool                 // there are renames to be done
}

// onRecord stands for the side whose name of a mailbox counts, when it was decided
// before what it is to be called.
const onRecord state.Side = 2

func newNest(in TreeInput, joins []*Join) *nest {
	n := &nest{in: in, joins: joins, winner: make(map[*Join]state.Side, len(joins)), yielded: make(map[*Join]bool)}
	n.forget()
	for s := range n.now {
		n.now[s], n.was[s], n.decided[s] = make(map[string]*Join), make(map[string]*Join), make(map[string]*Join)
		for _, j := range joins {
			if j.Info[s] != nil {
				n.now[s][j.Info[s].Name] = j
			}
			old := j.Saved.Name[s]
			if k := n.was[s][old]; old != "" && (k == nil || k.Info[s] == nil) { // some are on record that are long gone
				n.was[s][old] = j
			}
			if j.decided() {
				n.decided[s][j.Saved.Renaming[s]] = j
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

// decided reports whether it is on record what both sides are to call the mailbox.
func (j *Join) decided() bool {
	return j.Info[0] != nil && j.Info[1] != nil && j.Saved.Renaming != [2]string{}
}

// forget is called when another side's name of a mailbox counts.
func (n *nest) forget() { n.names = [2]map[*Join]string{{}, {}} }

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

// belongs tells what the decided name of a mailbox depends on: of those above it that
// are to be called otherwise by now, the ones that it is below where they are called so.
func (n *nest) belongs(j *Join) func(*Join) bool {
	return func(k *Join) bool {
		w := n.winner[k]
		return w == onRecord || strings.HasPrefix(j.Info[w].Name, k.Info[w].Name+"/")
	}
}

// oneName is false of a mailbox that has two names, and keeps them.
func (j *Join) oneName() bool {
	return j.Info[0] == nil || j.Info[1] == nil || j.decided() || j.Saved.Name[0] == j.Saved.Name[1]
}

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
	return j.Info[s].Name != n.base(j, s) && j.Info[s].Name != j.Saved.Renaming[s]
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
// side A's when both did; what was decided before, when none did since.
func (n *nest) wins(j *Join) state.Side {
	for _, s := range []state.Side{state.A, state.B} {
		if j.temporary(s) && !j.decided() {
			return s.Other()
		}
	}
	for _, s := range []state.Side{state.A, state.B} {
		if n.renamed(j, s) {
			return s
		}
	}
	if j.decided() {
		return onRecord
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
			path := n.circle(j)
			for _, k := range path {
				if n.winner[k] != state.A && !k.temporary(state.A) && k.Info[state.A] != nil && k.Info[state.B] != nil {
					n.winner[k], crossed = state.A, true
				}
			}
			if path != nil {
				n.forget()
			}
		}
	}
}

// circle are the mailboxes that are to be below each other, j among them; nil where there
// are none.
func (n *nest) circle(j *Join) (path []*Join) {
	k := j
	for k != nil && !slices.Contains(path, k) {
		path = append(path, k)
		k = n.parent(k)
	}
	if k != j {
		return nil
	}
	return path
}

// uncollide makes side A's names count where two mailboxes would have one name.
func (n *nest) uncollide() (found bool) {
	names := make(map[string]*Join, len(n.joins))
	for _, j := range n.joins {
		if j.Info[0] == nil || j.Info[1] == nil {
			continue
		}
		name := n.final(j, state.B)
		if k := names[name]; k != nil && (n.yield(k) || n.yield(j)) {
			n.forget()
			return true
		}
		names[name] = j
	}
	return false
}

// yield makes side A's name count of a mailbox, or of the innermost one above it, that
// has another one.
func (n *nest) yield(j *Join) bool {
	for k, seen := j, 0; k != nil && seen <= len(n.joins); k, seen = n.parent(k), seen+1 {
		w := n.winner[k]
		if k.Info[0] != nil && k.Info[1] != nil && (w == onRecord || w == state.B && n.renamed(k, state.B)) && !k.temporary(state.A) {
			n.winner[k] = state.A
			return true
		}
	}
	return false
}

// parent is the mailbox that j is to be below.
func (n *nest) parent(j *Join) *Join {
	s := n.side(j)
	if s == onRecord {
		k, _ := above(n.decided[state.A], j.Saved.Renaming[state.A], n.belongs(j))
		return k
	}
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

// follows reports whether a side is to have a name for a mailbox that is not its own.
func (n *nest) follows(j *Join, o state.Side) bool {
	return j.Info[0] != nil && j.Info[1] != nil && n.winner[j] != o && n.in.Policy.May[o].Mailboxes && !n.in.Stuck[o][j.Record.ID] && n.agreed(j)
}

// agreed reports whether both sides had a mailbox in the same place, or under the same
// name. Where they did not, because one could not be renamed once, each keeps its name.
func (n *nest) agreed(j *Join) bool {
	switch {
	case j.decided():
		return true
	case j.Saved.Name[0] == "" || j.Saved.Name[1] == "":
		return false
	case j.Saved.Name[0] == j.Saved.Name[1]:
		return true
	}
	ka, a := above(n.was[0], j.Saved.Name[0], anyJoin)
	kb, b := above(n.was[1], j.Saved.Name[1], anyJoin)
	return ka == kb && a == b || j.temporary(state.A) || j.temporary(state.B)
}

// carried gives a record the names that it has since those above it have others, and
// reports whether it has any. names are the new ones by the old ones, on each side;
// on those of stays nothing went along.
func carried(rec *state.Mailbox, names [2]map[string]string, stays [2]bool) bool {
	was := rec.Name
	for s, name := range was {
		for i := len(name) - 1; i > 0 && !stays[s]; i-- {
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
