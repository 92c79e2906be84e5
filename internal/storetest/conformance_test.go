package storetest

import (
	"testing"

	"postbag/internal/mail"
)

// The reference stores are held to what they are the reference for.
func TestReferenceStores(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{false, true} {
		t.Run(NewStore(keyed).Account(), func(t *testing.T) {
			Run(t, Config{Local: keyed, Stamps: true, Open: func(*testing.T) mail.Store {
				s := NewStore(keyed)
				s.Links = true
				return s
			}})
		})
	}
}
