package sync_test

import (
	"testing"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// Flags that were set while there was no state are not forgotten when the state is made
// anew: the next run brings them to the other side, as if the state had been there.
func TestRebuildLeavesFlagsToTheNextRun(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"by headers": "Message-ID: <r@x>\r\n\r\none\r\n",
		"by content": "Subject: without an ID\r\n\r\none\r\n",
	} {
		for s := range 2 {
			w := newWorld()
			for side, st := range w.store {
				st.AddBox("X")
				flags := "S"
				if side == s {
					flags = "FSw"
				}
				st.Put("X", lettersToFlags(t, flags), day, content)
			}
			w.journal = storetest.NewJournal()
			o := sync.Options{A: w.store[0], B: w.store[1], Journal: w.journal, Command: "test"}
			if _, err := sync.Rebuild(t.Context(), o); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := w.store[1-s].Messages("X")[0].Flags; !got.Equal(lettersToFlags(t, "S")) {
				t.Errorf("%s: the rebuild made the flags %v", name, got)
			}
			if rows := w.journal.Rows(); len(rows) != 1 || !rows[0].Alive(state.A) || !rows[0].Alive(state.B) {
				t.Fatalf("%s: the state has the rows %+v, want one pair", name, rows)
			}
			w.mustRun(t, sync.TwoWay(), nil)
			for side, st := range w.store {
				want := mail.Flags{}.Union(lettersToFlags(t, "FSw"))
				if got := st.Messages("X")[0].Flags; !got.Equal(want) {
					t.Errorf("%s: changed on side %v: after the next run side %v has %v, want %v", name, state.Side(s), state.Side(side), got, want)
				}
			}
			w.checkQuiet(t, sync.TwoWay())
		}
	}
}
