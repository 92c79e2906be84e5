// Package storetest holds what tests of the engine and of the stores share: an
// in-memory store that keeps every promise of package mail, an in-memory journal,
// both of which can be stopped before any of their steps, and a conformance suite
// that every store must pass.
package storetest

import (
	"errors"
	"sync"
)

// ErrCrash is what every step answers once the crash has come.
var ErrCrash = errors.New("crashed")

// Steps counts what stores and journals do, and stops them all before step
// number Stop (the first is 0). A negative Stop never comes.
type Steps struct {
	mu   sync.Mutex
	n    int
	Stop int
}

// NewSteps makes a Steps that stops before step stop.
func NewSteps(stop int) *Steps { return &Steps{Stop: stop} }

// Step counts one step. After the crash it only answers ErrCrash.
func (s *Steps) Step() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Stop >= 0 && s.n >= s.Stop {
		return ErrCrash
	}
	s.n++
	return nil
}

// Count is the number of steps done.
func (s *Steps) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}
