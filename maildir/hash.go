package maildir

import (
	"encoding/binary"
	"math/bits"
)

// nameSum is an order-independent 128-bit fingerprint of a set of file names:
// the sum of their hashes, and their number. A name can be added and taken away,
// so that the sum after a rename of our own is known without reading the
// directory again.
//
// It guards against coincidence, not against malice: whoever may write to the
// directory may as well replace a message in place.
type nameSum struct {
	lo, hi uint64
	count  int64
}

func (s *nameSum) add(where subdir, name []byte) { s.shift(hashName(where, name), 1) }

func (s *nameSum) shift(h [2]uint64, sign int64) {
	var carry uint64
	if sign > 0 {
		s.lo, carry = bits.Add64(s.lo, h[0], 0)
		s.hi, _ = bits.Add64(s.hi, h[1], carry)
	} else {
		s.lo, carry = bits.Sub64(s.lo, h[0], 0)
		s.hi, _ = bits.Sub64(s.hi, h[1], carry)
	}
	s.count += sign
}

// plus is the sum of both sets, minus their difference.
func (s nameSum) plus(o nameSum) nameSum {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, o.lo, 0)
	s.hi, _ = bits.Add64(s.hi, o.hi, carry)
	s.count += o.count
	return s
}

func (s nameSum) minus(o nameSum) nameSum {
	var borrow uint64
	s.lo, borrow = bits.Sub64(s.lo, o.lo, 0)
	s.hi, _ = bits.Sub64(s.hi, o.hi, borrow)
	s.count -= o.count
	return s
}

// hashName hashes a name and the subdirectory it is in. Two lanes of multiply
// and fold; the values are part of cursors on record, so they must never change.
func hashName(where subdir, name []byte) [2]uint64 {
	const (
		k0, k1 = 0x9e3779b97f4a7c15, 0xd1b54a32d192ed03
		k2, k3 = 0x8bb84b93962eacc9, 0x4b33a62ed433d4a3
	)
	a := uint64(len(name)+1)*k0 ^ uint64(where+1)*k3
	b := uint64(len(name)+1)*k1 ^ uint64(where+1)*k2
	for len(name) > 0 {
		var w uint64
		if len(name) >= 8 {
			w = binary.LittleEndian.Uint64(name)
			name = name[8:]
		} else {
			var tail [8]byte
			copy(tail[:], name)
			w = binary.LittleEndian.Uint64(tail[:])
			name = nil
		}
		a = fold(a^w, k2) + k0
		b = fold(b^bits.RotateLeft64(w, 23), k3) ^ k1
		a, b = a+b, b^bits.RotateLeft64(a, 32)
	}
	return [2]uint64{fold(a^k1, b^k2), fold(b^k3, a^k0)}
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
