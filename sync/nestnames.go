package sync

import (
	"fmt"
	"strconv"
	"strings"

	"postbag/state"
)

// place is where a name that a mailbox is to have on side o comes from: the name, the
// side that has it so, and the mailboxes that it may be below.
func (n *nest) place(j *Join, o state.Side) (name string, from state.Side, among map[string]*Join, fits func(*Join) bool) {
	fits = anyJoin
	if j.Saved.Name[0] == j.Saved.Name[1] {
		fits = (*Join).oneName
	}
	switch w := n.winner[j]; {
	case !n.follows(j, o):
		return j.Info[o].Name, o, n.now[o], fits
	case w == onRecord:
		return j.Saved.Renaming[o], o, n.decided[o], n.belongs(j)
	default:
		return j.Info[w].Name, w, n.now[w], fits
	}
}

// final is what a mailbox that a side has is to be called there in the end.
func (n *nest) final(j *Join, o state.Side) string {
	if name, ok := n.names[o][j]; ok {
		return name
	}
	n.names[o][j] = j.Info[o].Name // where names go in a circle all the same, it stays
	name, from, among, fits := n.place(j, o)
	if k, rest := above(among, name, fits); k != nil {
		at := o
		if k.Info[o] == nil {
			at = from
		}
		name = n.final(k, at) + rest
	}
	n.names[o][j] = name
	return name
}

// keepPlace gives a mailbox that one side lost the name there that it would have.
func (n *nest) keepPlace(j *Join) {
	for s, info := range j.Info {
		if info == nil && j.Saved.Name[0] != "" && j.Saved.Name[1] != "" && !j.anew[s] && j.Rename == [2]string{} && n.agreed(j) {
			j.Record.Name[s] = n.nameOn(j, state.Side(s))
		}
	}
}

// nameOn is what a mailbox that side s lacks would be called there.
func (n *nest) nameOn(j *Join, s state.Side) string {
	o := s.Other()
	if j.Rename[o] != "" {
		return j.Rename[o]
	}
	name := j.Info[o].Name
	k, rest := above(n.now[o], name, anyJoin)
	switch {
	case k == nil:
		return name
	case k.Info[s] == nil:
		return n.nameOn(k, s) + rest
	}
	return n.final(k, s) + rest
}

// pending reports whether a side is to give a mailbox another name.
func (n *nest) pending(j *Join, o state.Side) bool {
	return n.follows(j, o) && n.final(j, o) != j.Info[o].Name
}

// settled reports whether what j is to be below has its last name.
func (n *nest) settled(j *Join, o state.Side) bool {
	name, _, among, fits := n.place(j, o)
	k, _ := above(among, name, func(k *Join) bool { return fits(k) && k.Info[o] != nil })
	return k == nil || n.final(k, o) == k.Info[o].Name
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
	return n.numbered(name, name+" (deleted)", "%s (deleted %d)")
}

// another is a free name for the second mailbox of a name.
func (n *nest) another(name string) string { return n.numbered(name, name+" (2)", "%s (%d)") }

func (n *nest) numbered(name, to, format string) string {
	for i := 2; !n.free(to); i++ {
		to = fmt.Sprintf(format, name, i)
	}
	return to
}
