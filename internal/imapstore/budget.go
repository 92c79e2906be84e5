package imapstore

import (
	"context"
	"errors"

	"postbag/internal/mail"
)

// Way is the direction in which messages go.
type Way string

// The ways, seen from here.
const (
	Up   Way = "up"   // sent to the account
	Down Way = "down" // read from it
)

// Budget counts the octets of messages that go to and from an account in a day, over
// all runs.
type Budget interface {
	// Take counts n octets, unless the day's limit was reached before: then the
	// error is of KindThrottled, and says when there is some again. A limit may be
	// passed by one message on each connection.
	Take(ctx context.Context, way Way, limit, n int64) error
}

// spend counts octets of messages that are about to go, and refuses when the day's
// budget is used up.
func (s *Store) spend(ctx context.Context, way Way, n int64) error {
	limit := s.dayLimit(way)
	if limit <= 0 || s.cfg.Budget == nil {
		return nil
	}
	err := s.cfg.Budget.Take(ctx, way, limit, n)
	if e, ok := errors.AsType[*mail.Error](err); ok && e.Op == "" {
		e.Op = s.cfg.Account
	}
	return err
}

// dayLimit is the budget of a day: as configured, else what the provider is known to
// allow; 0 for none.
func (s *Store) dayLimit(way Way) int64 {
	quirk := s.pool.quirks()
	limit, known := s.cfg.DayUp, quirk.DayUp
	if way == Down {
		limit, known = s.cfg.DayDown, quirk.DayDown
	}
	switch {
	case limit < 0:
		return 0
	case limit > 0:
		return limit
	}
	return known
}
