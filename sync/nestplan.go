package sync

import (
	"strings"

	"postbag/state"
)

// step is a rename that is to be done on side o.
type step struct {
	j *Join
	o state.Side
}

// plan sets the renames that can be done now; what is in the way of others goes first.
// Where all are in each other's way, one mailbox gets out of it. What all are to be
// called goes on record with that: what a rename of ours takes along that does not
// belong there is not taken for somebody's wish.
func (n *nest) plan() {
	blocked, ready := n.steps()
	for i := 0; i < len(blocked) && !ready; i++ {
		var again bool
		if ready, again = n.makeWay(blocked[i].j, blocked[i].o); again {
			blocked, ready = n.steps()
			i = -1
		}
	}
	n.going = ready || n.makeRoom()
	moving := n.moving()
	for _, j := range n.joins {
		j.Record.Renaming = n.intent(j, moving)
	}
}

// moving are the mailboxes that are to have another name on a side.
func (n *nest) moving() (on [2]map[string]*Join) {
	for s := range on {
		on[s] = make(map[string]*Join)
		for _, j := range n.joins {
			if n.going && j.Info[s] != nil && (j.Rename[s] != "" || n.pending(j, state.Side(s))) {
				on[s][j.Info[s].Name] = j
			}
		}
	}
	return on
}

// steps sets the renames that nothing is in the way of, and answers with the others.
func (n *nest) steps() (blocked []step, ready bool) {
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
	return blocked, ready
}

// intent is what goes on record that a mailbox is to be called, if it is one of those
// that move, or below one.
func (n *nest) intent(j *Join, moving [2]map[string]*Join) (names [2]string) {
	switch {
	case j.Info[0] == nil && j.Rename[1] != "":
		return [2]string{j.Rename[1], j.Rename[1]}
	case j.Info[1] == nil && j.Rename[0] != "":
		return [2]string{j.Rename[0], j.Rename[0]}
	case j.Record.ID == 0 || j.Info[0] == nil || j.Info[1] == nil:
		return names
	case n.in.Stuck[0][j.Record.ID] || n.in.Stuck[1][j.Record.ID]:
		return j.Saved.Renaming
	case !n.going || !n.follows(j, state.A) && !n.follows(j, state.B):
		return names
	}
	concerned := j.decided()
	for s, on := range moving {
		k, _ := above(on, j.Info[s].Name+"/", anyJoin)
		concerned = concerned || k != nil
	}
	if concerned {
		return [2]string{n.final(j, state.A), n.final(j, state.B)}
	}
	return names
}

// inTheWay is the mailbox for which j cannot have a name on a side yet: the one that
// has it, or is above it and will have another name; what has the name of one that would
// go along, or that one, where only this side has it; j itself where the name is below its
// own.
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
		if !below || strings.HasPrefix(k.Info[o].Name, from+"/") {
			continue
		}
		switch along := n.now[o][from+"/"+rest]; {
		case along == nil:
		case along.Info[o.Other()] == nil && !n.pending(k, o):
			return along
		default:
			return k
		}
	}
	return nil
}

// makeWay gives another name to what is in the way of j. Where that is new, or stays, j
// gets the name back that it has on the side where nobody renamed it; then all is to be
// planned again.
func (n *nest) makeWay(j *Join, o state.Side) (done, again bool) {
	s := o.Other()
	k := n.inTheWay(j, o, n.final(j, o))
	if k != j && strings.HasPrefix(k.Info[o].Name, j.Info[o].Name+"/") && k.Info[s] == nil && !n.in.Stuck[o][k.Record.ID] {
		k.Rename[o] = n.another(k.Info[o].Name)
		return true, false
	}
	for k != nil && !n.pending(k, o) && n.final(k, o) != k.Info[o].Name { // it goes along with another
		k, _ = above(n.now[o], k.Info[o].Name, anyJoin)
	}
	switch {
	case k == nil || k.temporary(o) || n.in.Stuck[o][k.Record.ID]:
	case n.pending(k, o):
		if name := temporaryName(k.Record.ID); n.free(name) {
			k.Rename[o] = name
			return true, false
		}
	case k.Create[s] || k.Info[s] != nil: // new, or it keeps its names
		if n.in.Policy.May[s].Mailboxes && !n.yielded[j] && !j.temporary(o) && !n.in.Stuck[s][j.Record.ID] && n.inTheWay(j, s, j.Info[o].Name) == nil {
			was := n.winner[j]
			n.winner[j], n.yielded[j] = o, true
			if n.circle(j) == nil {
				n.forget()
				return false, true
			}
			n.winner[j] = was
		}
	case k.Info[s] == nil && k.Record.ID != 0: // deleted there
		k.Rename[o] = n.aside(k.Info[o].Name)
		return true, false
	}
	return false, false
}

// occupant is the mailbox that has the name under which j is to be made on side s.
func (n *nest) occupant(j *Join, s state.Side) *Join {
	if k := n.now[s][j.Record.Name[s]]; j.Create[s] && k != j {
		return k
	}
	return nil
}

// makeRoom sees to it that a mailbox which is to be made finds its name free. What has
// it, and was deleted on the other side, is put aside. What has another name there,
// because it could not be renamed once, or was renamed on the copy of a backup, now gets
// that name. Else the new mailbox gets another.
func (n *nest) makeRoom() bool {
	for _, j := range n.joins {
		for s := range j.Create {
			side, o := state.Side(s), state.Side(1-s)
			k := n.occupant(j, side)
			if k == nil {
				continue
			}
			switch there := k.Info[o]; {
			case there == nil && k.Saved.Name[o] != "" && !k.anew[o]:
				k.Rename[s] = n.aside(k.Info[s].Name)
				return true
			case !k.oneName() && n.now[s][there.Name] == nil && !n.in.Stuck[s][k.Record.ID] && n.inTheWay(k, side, there.Name) == nil:
				k.Rename[s] = there.Name
				return true
			case n.in.Policy.May[o].Mailboxes && j.Info[o].Name != "INBOX" && !n.in.Stuck[o][j.Record.ID]:
				j.Rename[o] = n.another(j.Info[o].Name)
				return true
			}
		}
	}
	return false
}

func (n *nest) free(name string) bool {
	return n.now[0][name] == nil && n.now[1][name] == nil && !n.in.Excluded(name)
}
