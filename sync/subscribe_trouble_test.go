package sync_test

import (
	"context"
	"errors"
	"testing"

	"postbag/internal/mail"
	"postbag/sync"
)

// hangsUp is a store whose connection ends whenever a subscription is changed.
type hangsUp struct {
	mail.Store
	mail.Subscriber
}

func (hangsUp) Subscribe(context.Context, map[string]bool) (map[string]*mail.Error, error) {
	return nil, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindUnreachable, Temporary: true, Op: "subscribe", Err: errors.New("connection reset")}
}

// A server that cannot change subscriptions, and does not get as far as to say so,
// costs a warning in each run, and no mail.
func TestSubscriptionsThatFailKeepNoMailBack(t *testing.T) {
	t.Parallel()
	w := lists(t)
	w.mustRun(t, sync.TwoWay(), nil)
	w.store[0].Put("a", mail.Flags{}, day, text(1))
	rep := w.mustRun(t, sync.TwoWay(), func(o *sync.Options) {
		o.A, o.Subscriptions = hangsUp{w.store[0], w.store[0]}, true
	})
	if n := len(w.store[1].Messages("a")); n != 2 || len(rep.Problems) != 1 || !rep.Problems[0].Warning {
		t.Errorf("the copy has %d messages, problems %+v; want 2 and a warning", n, rep.Problems)
	}
	w.subscribed(t, "a b nowhere", "a b c nowhere")
	w.mustRun(t, sync.TwoWay(), subscribing)
	w.subscribed(t, "a b c nowhere", "a b c nowhere")
}

// A mailbox that another program deleted in the copy, with its subscription, and
// that new mail makes again, is not unsubscribed from on the server.
func TestSubscriptionOfMailboxMadeAgain(t *testing.T) {
	t.Parallel()
	for _, p := range []sync.Policy{sync.Backup(), sync.TwoWay()} {
		w := lists(t)
		w.mustRun(t, p, subscribing)
		w.store[1].DropBox("a")
		w.store[1].SetSubscribed("a", false)
		w.mustRun(t, p, subscribing)
		w.store[0].Put("a", mail.Flags{}, day, text(2))
		for range 3 {
			w.mustRun(t, p, subscribing)
		}
		if got := w.store[0].Subscriptions(); got[0] != "a" {
			t.Errorf("%s: the server shows %q, and not the mailbox that was made again in the copy", p.Name, got)
		}
		if got := w.store[1].Subscriptions(); got[0] != "a" {
			t.Errorf("%s: the copy shows %q, and not the mailbox that was made again", p.Name, got)
		}
		w.mustQuiet(t, p)
	}
}
