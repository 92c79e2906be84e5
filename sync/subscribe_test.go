package sync_test

import (
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

func subscribing(o *sync.Options) { o.Subscriptions = true }

// lists is a world with the mailboxes a to d on both sides, of which A has
// subscribed to a and b, and B to b and c.
func lists(t *testing.T) *world {
	w := newWorld()
	for s, names := range [2]string{"ab", "bc"} {
		for _, name := range []string{"a", "b", "c", "d"} {
			w.store[s].AddBox(name)
			w.store[s].Put(name, mail.Flags{}, day, "x"+name)
			w.store[s].SetSubscribed(name, strings.Contains(names, name))
		}
		w.store[s].SetSubscribed("nowhere", true)
	}
	return w
}

// subscribed fails the test unless the sides are subscribed to these mailboxes.
func (w *world) subscribed(t *testing.T, want ...string) {
	t.Helper()
	for s, names := range want {
		if got := strings.Join(w.store[s].Subscriptions(), " "); got != names {
			t.Errorf("%v: subscribed to %q, want %q", state.Side(s), got, names)
		}
	}
}

// Subscriptions that are asked for follow both ways, like flags; the first run only
// adds, and a run with nothing to do changes nothing. Names without a mailbox stay.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	w := lists(t)
	w.mustRun(t, sync.TwoWay(), nil)
	w.subscribed(t, "a b nowhere", "b c nowhere")
	if n := w.store[0].Asked + w.store[1].Asked; n != 0 {
		t.Errorf("a run that was not told to asked %d times for the subscriptions", n)
	}
	w.mustRun(t, sync.TwoWay(), subscribing)
	w.subscribed(t, "a b c nowhere", "a b c nowhere")
	w.mustQuiet(t, sync.TwoWay())
	w.store[0].SetSubscribed("a", false)
	w.store[0].SetSubscribed("d", true)
	w.store[1].SetSubscribed("b", false)
	w.mustRun(t, sync.TwoWay(), func(o *sync.Options) { o.Subscriptions, o.DryRun = true, true })
	w.subscribed(t, "b c d nowhere", "a c nowhere")
	w.mustRun(t, sync.TwoWay(), subscribing)
	w.subscribed(t, "c d nowhere", "c d nowhere")
	w.mustQuiet(t, sync.TwoWay())
}

// mustQuiet runs again, asking for the subscriptions, and expects that nothing
// happens.
func (w *world) mustQuiet(t *testing.T, p sync.Policy) {
	t.Helper()
	c := w.clone(-1)
	c.mustRun(t, p, subscribing)
	if n := c.store[0].Steps.Count(); n != 0 {
		t.Errorf("a second run does %d steps", n)
	}
}

// A backup brings the server's subscriptions into the copy and never its own to the
// server.
func TestSubscriptionsOneWay(t *testing.T) {
	t.Parallel()
	w := lists(t)
	w.mustRun(t, sync.Backup(), subscribing)
	w.subscribed(t, "a b nowhere", "a b c nowhere")
	w.store[1].SetSubscribed("b", false)
	w.mustRun(t, sync.Backup(), subscribing)
	w.subscribed(t, "a b nowhere", "a c nowhere")
	w.store[0].SetSubscribed("a", false)
	w.mustRun(t, sync.Backup(), subscribing)
	w.subscribed(t, "b nowhere", "c nowhere")
	w.mustQuiet(t, sync.Backup())
	if n := w.store[0].Did["subscribe"]; n != 0 {
		t.Errorf("%d subscriptions were changed on the server", n)
	}
}

// A tree whose list is lost has unsubscribed from nothing, and neither has a side
// that lost a mailbox which this run made again.
func TestSubscriptionsLost(t *testing.T) {
	t.Parallel()
	w := lists(t)
	w.mustRun(t, sync.TwoWay(), subscribing)
	w.store[1].ForgetSubscriptions()
	w.mustRun(t, sync.TwoWay(), subscribing)
	w.subscribed(t, "a b c nowhere", "a b c")

	w.store[1].DropBox("a")
	w.store[1].SetSubscribed("a", false)
	w.mustRun(t, sync.Backup(), subscribing)
	w.subscribed(t, "a b c nowhere", "a b c")
}

// A mailbox that is renamed on one side stays subscribed where it is, whether or not
// the reader that renamed it subscribed to the new name, and the old name does not
// stay behind.
func TestSubscriptionsRename(t *testing.T) {
	t.Parallel()
	for _, resubscribed := range []bool{false, true} {
		for s := range 2 {
			w := lists(t)
			for _, st := range w.store {
				st.ObjectIDs = true
				st.AddBox("a/x")
				st.SetSubscribed("a/x", true)
			}
			w.mustRun(t, sync.TwoWay(), subscribing)
			w.store[s].RenameBox("a", "new")
			if resubscribed {
				for old, name := range map[string]string{"a": "new", "a/x": "new/x"} {
					w.store[s].SetSubscribed(old, false)
					w.store[s].SetSubscribed(name, true)
				}
			}
			w.mustRun(t, sync.TwoWay(), subscribing)
			want := [2]string{"b c nowhere", "b c nowhere"}
			if resubscribed {
				want = [2]string{"b c new new/x nowhere", "b c new new/x nowhere"}
			} else {
				want[s] = "a a/x b c nowhere" // that reader's business
			}
			w.subscribed(t, want[:]...)
		}
	}
}

// A mailbox that is deleted on one side, and so on the other, is not subscribed any
// more.
func TestSubscriptionsDelete(t *testing.T) {
	t.Parallel()
	w := lists(t)
	w.mustRun(t, sync.TwoWay(), subscribing)
	w.store[0].DropBox("a")
	w.store[0].SetSubscribed("a", false)
	p := sync.TwoWay()
	for s := range p.May {
		p.May[s].DeleteMailboxes = true
	}
	w.mustRun(t, p, subscribing)
	w.subscribed(t, "b c nowhere", "b c nowhere")
	if slices.Contains(w.store[1].Boxes(), "a") {
		t.Error("the mailbox is still there")
	}
}

// A subscription that is refused is a warning, and is tried again.
func TestSubscriptionsRefused(t *testing.T) {
	t.Parallel()
	w := lists(t)
	w.store[1].RefuseSubscription = func(name string) bool { return name == "a" }
	rep := w.mustRun(t, sync.TwoWay(), subscribing)
	if len(rep.Problems) != 1 || !rep.Problems[0].Warning || rep.Problems[0].Mailbox != "a" {
		t.Errorf("got problems %+v, want a warning about a", rep.Problems)
	}
	w.subscribed(t, "a b c nowhere", "b c nowhere")
	w.store[1].RefuseSubscription = nil
	w.mustRun(t, sync.TwoWay(), subscribing)
	w.subscribed(t, "a b c nowhere", "a b c nowhere")
}

// Sides that keep no list of subscriptions are synced all the same.
func TestSubscriptionsUnsupported(t *testing.T) {
	t.Parallel()
	w := lists(t)
	w.mustRun(t, sync.TwoWay(), func(o *sync.Options) {
		o.Subscriptions = true
		o.B = struct{ mail.Store }{w.store[1]}
	})
	w.subscribed(t, "a b nowhere", "b c nowhere")
}

// onView are the mailboxes of a side that readers show, sorted.
func onView(st *storetest.Store) string {
	boxes := st.Boxes()
	return strings.Join(slices.DeleteFunc(st.Subscriptions(), func(name string) bool { return !slices.Contains(boxes, name) }), " ")
}

// A run that is cut off anywhere, and one more, end where an undisturbed run ends,
// but for the names of mailboxes that are no more.
func TestSubscriptionsCrash(t *testing.T) {
	t.Parallel()
	before := lists(t)
	before.mustRun(t, sync.TwoWay(), subscribing)
	before.store[0].SetSubscribed("a", false)
	before.store[0].SetSubscribed("d", true)
	before.store[1].SetSubscribed("b", false)
	before.store[0].RenameBox("c", "e")
	after := before.clone(-1)
	after.mustRun(t, sync.TwoWay(), subscribing)
	after.subscribed(t, "c d nowhere", "d nowhere")
	var want []string
	for _, st := range after.store {
		want = append(want, onView(st))
	}
	steps := after.store[0].Steps.Count()
	if steps < 5 {
		t.Fatalf("the run has %d steps", steps)
	}
	for stop := range steps {
		c := before.clone(stop)
		if _, err := c.run(sync.TwoWay(), subscribing); err == nil {
			t.Fatalf("the run did not stop before step %d", stop)
		}
		c = c.clone(-1)
		c.mustRun(t, sync.TwoWay(), subscribing)
		var got []string
		for _, st := range c.store {
			got = append(got, onView(st))
		}
		if !slices.Equal(got, want) {
			t.Errorf("crash before step %d: got %q, want %q", stop, got, want)
		}
		c.mustQuiet(t, sync.TwoWay())
	}
}

var _ mail.Subscriber = (*storetest.Store)(nil)
