package imapconn

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
)

// UIDRange is the UIDs from Lo to Hi, both included; 0 < Lo <= Hi.
type UIDRange struct{ Lo, Hi uint32 }

// UIDSet is a set of UIDs as sorted ranges that neither overlap nor touch. Its
// size in memory is that of its ranges, never that of the UIDs in them: a server
// can write the set of four thousand million UIDs in twelve octets. The zero
// UIDSet is empty. Copies share memory: do not add to two copies.
type UIDSet struct{ ranges []UIDRange }

// NewUIDSet is the set of the given UIDs, in any order. Zeros are left out.
func NewUIDSet(uids ...uint32) UIDSet {
	if !slices.IsSorted(uids) {
		uids = slices.Clone(uids)
		slices.Sort(uids)
	}
	var s UIDSet
	for _, uid := range uids {
		s.AddRange(uid, uid)
	}
	return s
}

// Add adds one UID; 0 is none.
func (s *UIDSet) Add(uid uint32) { s.AddRange(uid, uid) }

// AddRange adds the UIDs from lo to hi, which may be given in either order; 0 is
// none. Adding in ascending order is cheapest.
func (s *UIDSet) AddRange(lo, hi uint32) {
	if lo > hi {
		lo, hi = hi, lo
	}
	lo = max(lo, 1)
	if hi == 0 {
		return
	}
	n := len(s.ranges)
	if n == 0 || uint64(s.ranges[n-1].Hi)+1 < uint64(lo) {
		s.ranges = append(s.ranges, UIDRange{lo, hi})
		return
	}
	// The first range that ends at lo-1 or later, and the first that begins
	// after hi+1: all in between melt into one.
	i, _ := slices.BinarySearchFunc(s.ranges, lo, func(r UIDRange, lo uint32) int {
		if uint64(r.Hi)+1 < uint64(lo) {
			return -1
		}
		return 1
	})
	j := i
	for j < n && uint64(s.ranges[j].Lo) <= uint64(hi)+1 {
		lo, hi = min(lo, s.ranges[j].Lo), max(hi, s.ranges[j].Hi)
		j++
	}
	if j == i+1 {
		s.ranges[i] = UIDRange{lo, hi}
		return
	}
	s.ranges = slices.Replace(s.ranges, i, j, UIDRange{lo, hi})
}

// Ranges are the set's ranges in ascending order. They belong to the set.
func (s UIDSet) Ranges() []UIDRange { return s.ranges }

// IsEmpty reports whether the set holds no UID.
func (s UIDSet) IsEmpty() bool { return len(s.ranges) == 0 }

// Count is the number of UIDs; on 32-bit machines it stops at the largest int.
func (s UIDSet) Count() int {
	var n uint64
	for _, r := range s.ranges {
		n += uint64(r.Hi-r.Lo) + 1
	}
	return int(min(n, math.MaxInt))
}

// Contains reports whether uid is in the set.
func (s UIDSet) Contains(uid uint32) bool {
	_, found := slices.BinarySearchFunc(s.ranges, uid, func(r UIDRange, uid uint32) int {
		switch {
		case r.Hi < uid:
			return -1
		case r.Lo > uid:
			return 1
		}
		return 0
	})
	return found
}

// String is the set as a command takes it: "1:3,7". An empty set is "".
func (s UIDSet) String() string {
	var b []byte
	for i, r := range s.ranges {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.append(b)
	}
	return string(b)
}

func (r UIDRange) append(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(r.Lo), 10)
	if r.Hi > r.Lo {
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(r.Hi), 10)
	}
	return b
}

// MaxSetBytes is how long a set may be in one command: servers refuse commands
// of some ten kilobytes.
const MaxSetBytes = 8000

// Chunks cuts the set into sets whose String is at most maxBytes long
// (MaxSetBytes when 0), in ascending order.
func (s UIDSet) Chunks(maxBytes int) []UIDSet {
	if maxBytes <= 0 {
		maxBytes = MaxSetBytes
	}
	var chunks []UIDSet
	var scratch [24]byte
	start, size := 0, 0
	for i, r := range s.ranges {
		n := len(r.append(scratch[:0])) + 1 // with a comma
		if i > start && size+n-1 > maxBytes {
			chunks = append(chunks, UIDSet{s.ranges[start:i:i]})
			start, size = i, 0
		}
		size += n
	}
	if start < len(s.ranges) {
		chunks = append(chunks, UIDSet{s.ranges[start:len(s.ranges):len(s.ranges)]})
	}
	return chunks
}

// Below are the UIDs of the set that are below uid.
func (s UIDSet) Below(uid uint32) UIDSet {
	var below UIDSet
	for _, r := range s.ranges {
		if r.Lo < uid {
			below.ranges = append(below.ranges, UIDRange{r.Lo, min(r.Hi, uid-1)})
		}
	}
	return below
}

// Split cuts the set into sets of at most n UIDs, in ascending order.
func (s UIDSet) Split(n int) []UIDSet {
	var parts []UIDSet
	var now UIDSet
	room := max(n, 1)
	for _, r := range s.ranges {
		for lo := uint64(r.Lo); lo <= uint64(r.Hi); {
			hi := min(uint64(r.Hi), lo+uint64(room)-1)
			now.ranges = append(now.ranges, UIDRange{uint32(lo), uint32(hi)})
			if room -= int(hi - lo + 1); room == 0 {
				parts, now, room = append(parts, now), UIDSet{}, max(n, 1)
			}
			lo = hi + 1
		}
	}
	if !now.IsEmpty() {
		parts = append(parts, now)
	}
	return parts
}

// errSet is the reason when a set cannot be parsed.
var errSet = errors.New("malformed UID set")

// ParseUIDSet parses a set as servers write it ("1:3,7", ranges in either
// order). "*" and 0 are no UIDs of a message and make it fail, as does anything
// else that is no set.
func ParseUIDSet(text string) (UIDSet, error) {
	var s UIDSet
	for text != "" {
		part, rest, more := strings.Cut(text, ",")
		if more && rest == "" {
			return UIDSet{}, errSet
		}
		text = rest
		r, err := parseRange(part)
		if err != nil {
			return UIDSet{}, err
		}
		s.ranges = append(s.ranges, r)
	}
	return UIDSet{normalise(s.ranges)}, nil
}

func parseRange(part string) (UIDRange, error) {
	lo, hi, isRange := strings.Cut(part, ":")
	if !isRange {
		hi = lo
	}
	a, okA := parseUint32([]byte(lo))
	b, okB := parseUint32([]byte(hi))
	if !okA || !okB || a == 0 || b == 0 {
		return UIDRange{}, errSet
	}
	return UIDRange{min(a, b), max(a, b)}, nil
}

// normalise sorts ranges and joins those that overlap or touch, in place. A
// server may list a hundred thousand UIDs in any order: adding them one by one
// would take quadratic time.
func normalise(ranges []UIDRange) []UIDRange {
	byLo := func(a, b UIDRange) int {
		switch {
		case a.Lo < b.Lo:
			return -1
		case a.Lo > b.Lo:
			return 1
		}
		return 0
	}
	if !slices.IsSortedFunc(ranges, byLo) {
		slices.SortFunc(ranges, byLo)
	}
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && uint64(r.Lo) <= uint64(out[n-1].Hi)+1 {
			out[n-1].Hi = max(out[n-1].Hi, r.Hi)
			continue
		}
		out = append(out, r)
	}
	return out
}

// parseUint32 parses decimal digits; 0 and false for anything else and for
// overflow.
func parseUint32(b []byte) (uint32, bool) {
	n, ok := parseUint64(b)
	if !ok || n > math.MaxUint32 {
		return 0, false
	}
	return uint32(n), true
}

// parseUint64 is parseUint32 for 64 bits.
func parseUint64(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
