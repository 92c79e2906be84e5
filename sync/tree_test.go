package sync

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/state"
)

// Names as a table: what is on record ("name id", "name|name id" when it has two),
// what each side lists, and what is planned: "make X on B", "rename X to Y on A", a
// "?" after what is a guess, "no room for X on B".
func TestPlanTreeNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		record, a, b []string
		ids          bool
		policy       Policy
		want         string
	}{
		{"nothing", nil, nil, nil, true, TwoWay(), ""},
		{"new on A", nil, []string{"X 1"}, nil, true, TwoWay(), "make X on B"},
		{"new on B", nil, nil, []string{"X 1"}, true, TwoWay(), "make X on A"},
		{"new on B, a backup", nil, nil, []string{"X 1"}, true, Backup(), ""},
		{"new on both", nil, []string{"X 1"}, []string{"X 2"}, true, TwoWay(), ""},
		{"renamed on A", []string{"X 1"}, []string{"Y 1"}, []string{"X 1"}, true, TwoWay(), "rename Y to Y on B"},
		{"renamed on A, known by its validity", []string{"X 1"}, []string{"Y 1"}, []string{"X 1"}, false, TwoWay(), "rename Y to Y on B?"},
		{"renamed on B, a backup", []string{"X 1"}, []string{"X 1"}, []string{"Y 1"}, true, Backup(), ""},
		{"renamed on both apart", []string{"X 1"}, []string{"Y 1"}, []string{"Z 1"}, true, TwoWay(), "rename Y to Y on B"},
		{"renamed on both alike", []string{"X 1"}, []string{"Y 1"}, []string{"Y 1"}, true, TwoWay(), ""},
		{"deleted on A", []string{"X 1"}, nil, []string{"X 1"}, true, TwoWay(), ""},
		{"deleted on B, a backup", []string{"X 1"}, []string{"X 1"}, nil, true, Backup(), "make X on B"},
		{"INBOX lost its name", []string{"INBOX 1"}, []string{"Y 1"}, []string{"INBOX 1"}, false, TwoWay(), "make Y on B"},
		{"INBOX lost its name and its id", []string{"INBOX 1"}, []string{"Y 1", "INBOX 2"}, []string{"INBOX 1"}, true, TwoWay(), "make Y on B"},
		{"a new one of the name that a copy was renamed to", []string{"X|Y 1"}, []string{"X 1", "Y 2"}, []string{"Y 1"}, true, Backup(), "make Y on B, rename X to X on B"},
		{"one made again of such a name", []string{"X|Y 1", "Y 2"}, []string{"X 1", "Y 2"}, []string{"Y 1"}, true, Backup(), "make Y on B, rename X to X on B"},
		{"no name for that copy", []string{"X|Y 1"}, []string{"X 1", "Y 2"}, []string{"Y 1", "X 3"}, true, Backup(), "no room for Y on B"},
		{"names that differ in case", []string{"X 1"}, []string{"X 1", "x 2"}, []string{"X 1"}, true, TwoWay(), "make x on B"},
	}
	for _, tt := range tests {
		in := TreeInput{Policy: tt.policy, Excluded: func(string) bool { return false }}
		for i, s := range tt.record {
			name, id, _ := strings.Cut(s, " ")
			a, b, two := strings.Cut(name, "|")
			if !two {
				b = a
			}
			r := &state.Mailbox{ID: int64(i + 1), Name: [2]string{a, b}, Validity: [2]string{id, id}}
			if tt.ids {
				r.ObjectID = [2]string{"m" + id, "m" + id}
			}
			in.Records = append(in.Records, r)
		}
		for s, list := range [][]string{tt.a, tt.b} {
			for _, l := range list {
				name, id, _ := strings.Cut(l, " ")
				info := mail.MailboxInfo{Name: name, Validity: id}
				if tt.ids {
					info.ObjectID = "m" + id
				}
				in.Listed[s] = append(in.Listed[s], info)
			}
		}
		var got []string
		for _, j := range PlanTree(in) {
			for _, s := range []state.Side{state.A, state.B} {
				guess := ""
				if j.Guess[s] || j.Guess[s.Other()] {
					guess = "?"
				}
				if j.Create[s] {
					got = append(got, fmt.Sprintf("make %s on %v%s", j.Record.Name[s], s, guess))
				}
				if j.Taken[s] {
					got = append(got, fmt.Sprintf("no room for %s on %v", j.Record.Name[s], s))
				}
				if j.Rename[s] != "" {
					got = append(got, fmt.Sprintf("rename %s to %s on %v%s", joinName(&j), j.Rename[s], s, guess))
				}
			}
		}
		slices.Sort(got)
		if got := strings.Join(got, ", "); got != tt.want {
			t.Errorf("%s: planned %q, want %q", tt.name, got, tt.want)
		}
	}
}
