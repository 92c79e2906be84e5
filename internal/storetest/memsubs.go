package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"

	"postbag/internal/mail"
)

// SetSubscribed changes a subscription, as another client would.
func (s *Store) SetSubscribed(name string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subscribed == nil {
		s.subscribed = make(map[string]bool)
	}
	if s.subscribed[name] = true; !on {
		delete(s.subscribed, name)
	}
}

// ForgetSubscriptions leaves the store without a list.
func (s *Store) ForgetSubscriptions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribed = nil
}

// Subscriptions are the names that are subscribed, sorted.
func (s *Store) Subscriptions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.subscribed))
}

// Subscribed implements mail.Subscriber.
func (s *Store) Subscribed(_ context.Context, names []string) (map[string]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Asked++
	if s.subscribed == nil {
		return nil, nil
	}
	answer := make(map[string]bool)
	for _, name := range names {
		if s.subscribed[name] {
			answer[name] = true
		}
	}
	return answer, nil
}

// Subscribe implements mail.Subscriber. Each change is one step.
func (s *Store) Subscribe(_ context.Context, changes map[string]bool) (map[string]*mail.Error, error) {
	refused := make(map[string]*mail.Error)
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if s.RefuseSubscription != nil && s.RefuseSubscription(name) {
			refused[name] = &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindRefused, Op: "subscribe", Mailbox: name, Err: errors.New("no")}
			continue
		}
		if err := s.Steps.Step(); err != nil {
			return refused, err
		}
		s.SetSubscribed(name, changes[name])
		s.mu.Lock()
		s.did("subscribe")
		s.mu.Unlock()
	}
	return refused, nil
}
