package sync

import (
	"context"
	"maps"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// subscriptions makes what one side subscribed to since the last run, or
// unsubscribed from, so on the other. Only mailboxes that both sides have count.
// What both agree on is recorded when both hold it: a run that is cut off before
// that finds the same to do, or nothing.
func (r *run) subscriptions(ctx context.Context) error {
	if !r.Subscriptions || !r.Policy.May[0].Mailboxes && !r.Policy.May[1].Mailboxes {
		return nil
	}
	p := subscribing{run: r, changes: [2]map[string]bool{{}, {}}, of: [2]map[string]*box{{}, {}}}
	for s, store := range r.store {
		if p.sub[s] = mail.SubscriberOf(store); p.sub[s] == nil {
			return nil
		}
	}
	for _, b := range r.boxes {
		if b.info[0] != nil && b.info[1] != nil {
			p.boxes = append(p.boxes, b)
			p.of[0][b.rec.Name[0]], p.of[1][b.rec.Name[1]] = b, b
		}
	}
	if ok, err := p.ask(ctx); !ok || err != nil {
		return err
	}
	for s := range p.sub {
		if err := p.change(ctx, state.Side(s)); err != nil {
			return err
		}
	}
	return p.record(ctx)
}

// subscribing is one such merge.
type subscribing struct {
	*run
	sub     [2]mail.Subscriber
	boxes   []*box
	of      [2]map[string]*box
	after   map[*box]state.Subscription
	changes [2]map[string]bool
}

// ask asks both sides and plans. ok is false when a side does not tell.
func (p *subscribing) ask(ctx context.Context) (ok bool, err error) {
	var now [2]map[string]bool
	for s, sub := range p.sub {
		if now[s], err = sub.Subscribed(ctx, slices.Sorted(maps.Keys(p.of[s]))); err != nil {
			return false, p.untold(ctx, state.Side(s), "the subscriptions cannot be read: ", err)
		}
	}
	p.after = make(map[*box]state.Subscription, len(p.boxes))
	for _, b := range p.boxes {
		// A side without a list unsubscribed from nothing, and neither did one whose
		// mailbox was lost and made again.
		if now[0] == nil || now[1] == nil || b.rec.Gone != [2]int64{} {
			b.rec.Subscribed = state.Unknown
		}
		has := [2]bool{now[0][b.rec.Name[0]], now[1][b.rec.Name[1]]}
		var do [2]bool
		do, p.after[b] = mergeSubscription(p.Policy, b.rec.Subscribed, has)
		for s, made := range b.made { // what the making of it did to it is nobody's wish
			if o := 1 - s; made && !b.made[o] {
				do, p.after[b] = [2]bool{}, state.Unsubscribed
				if do[s] = has[0] != has[1]; has[o] {
					p.after[b] = state.Subscribed
				}
			}
		}
		for s := range do {
			if do[s] {
				p.changes[s][b.rec.Name[s]] = !has[s]
			}
		}
	}
	return true, nil
}

// untold makes a warning of what went wrong with all of a side's subscriptions: no
// mail waits for them. It answers with what ends the run.
func (p *subscribing) untold(ctx context.Context, s state.Side, what string, err error) error {
	e := mail.AsError(err)
	if e.Scope == mail.ScopeAccount || ctx.Err() != nil {
		return err
	}
	p.rep.problem(Problem{Side: s, Size: -1, Kind: e.Kind, Warning: true, Reason: what + reason(e), Hint: e.Hint})
	return nil
}

// change does what is planned for one side. What it refuses is a warning, and is
// tried again by the next run.
func (p *subscribing) change(ctx context.Context, s state.Side) error {
	todo := p.changes[s]
	var refused map[string]*mail.Error
	if !p.DryRun {
		for _, old := range p.formerly[s] {
			if p.of[s][old] == nil { // mail readers would show a mailbox that is not there
				todo[old] = false
			}
		}
		if len(todo) == 0 {
			return nil
		}
		var err error
		if refused, err = p.sub[s].Subscribe(ctx, todo); err != nil {
			for name := range todo {
				if b := p.of[s][name]; b != nil {
					p.after[b] = b.rec.Subscribed
				}
			}
			return p.untold(ctx, s, "the subscriptions cannot be changed: ", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(todo)) {
		b := p.of[s][name]
		switch e := refused[name]; {
		case b == nil:
		case e != nil:
			p.after[b] = b.rec.Subscribed
			p.rep.problem(Problem{Mailbox: b.name(), Side: s, Size: -1, Kind: e.Kind, Warning: true,
				Reason: "the subscription cannot be changed: " + reason(e), Hint: e.Hint})
		case todo[name]:
			p.Progress.Note("%s: subscribed in %s", name, p.store[s].Account())
		default:
			p.Progress.Note("%s: unsubscribed in %s", name, p.store[s].Account())
		}
	}
	return nil
}

// record records what both sides hold now.
func (p *subscribing) record(ctx context.Context) error {
	var tx state.Tx
	for _, b := range p.boxes {
		if b.rec.Subscribed = p.after[b]; b.rec.Subscribed != b.saved.Subscribed {
			tx.Mailboxes = append(tx.Mailboxes, b.rec)
		}
	}
	if p.DryRun {
		return nil
	}
	if err := commit(ctx, p.Journal, &tx, true); err != nil {
		return err
	}
	for _, b := range p.boxes {
		b.saved.Subscribed = b.rec.Subscribed
	}
	return nil
}

// unsubscribe is called for a mailbox that was deleted. A refusal does not matter.
func (r *run) unsubscribe(ctx context.Context, s state.Side, name string) error {
	sub := mail.SubscriberOf(r.store[s])
	if !r.Subscriptions || sub == nil {
		return nil
	}
	_, err := sub.Subscribe(ctx, map[string]bool{name: false})
	if err != nil && mail.AsError(err).Scope != mail.ScopeAccount {
		return nil
	}
	return err
}
