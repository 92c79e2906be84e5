package mail

import "context"

// Subscriber is implemented by a Store that keeps a list of the mailboxes that
// mail readers are to show (RFC 9051, 6.3.7).
type Subscriber interface {
	// Subscribed tells which of the mailboxes, which exist, are subscribed; nil
	// when the store has no list so far, which says nothing of any of them.
	Subscribed(ctx context.Context, names []string) (map[string]bool, error)
	// Subscribe changes subscriptions, durably: true subscribes. refused says why
	// some were not changed. A name without a mailbox may be unsubscribed.
	Subscribe(ctx context.Context, changes map[string]bool) (refused map[string]*Error, err error)
}

// SubscriberOf is s as a Subscriber, nil when it is none. A store that wraps
// another one shows it as Unwrap.
func SubscriberOf(s Store) Subscriber {
	for {
		if sub, ok := s.(Subscriber); ok {
			return sub
		}
		w, ok := s.(interface{ Unwrap() Store })
		if !ok {
			return nil
		}
		s = w.Unwrap()
	}
}
