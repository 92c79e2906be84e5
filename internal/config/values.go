package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseSize reads a size in octets: "500", "100K", "10M", "1.5G". K, M and G are
// powers of 1024; a "B" or "iB" behind them changes nothing.
func ParseSize(s string) (int64, error) {
	n, err := parseSize(s)
	if err != nil {
		return 0, usage("size", `such as "500K" or "10M"`, "%q is no size", s)
	}
	return n, nil
}

func parseSize(s string) (int64, error) {
	text := strings.ToUpper(strings.TrimSpace(s))
	text = strings.TrimSuffix(strings.TrimSuffix(text, "B"), "I")
	unit := int64(1)
	if text != "" {
		if i := strings.IndexByte("KMGT", text[len(text)-1]); i >= 0 {
			unit <<= 10 * (i + 1)
			text = text[:len(text)-1]
		}
	}
	for _, c := range text {
		if c != '.' && (c < '0' || c > '9') {
			return 0, strconv.ErrSyntax
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f*float64(unit) > math.MaxInt64/2 {
		return 0, strconv.ErrSyntax
	}
	return int64(f * float64(unit)), nil
}

// ParseRate reads octets per second, in the form of a size; "/s" may follow.
// Fewer than 1024 is refused: a connection would look dead.
func ParseRate(s string) (int64, error) {
	n, err := parseSize(strings.TrimSuffix(s, "/s"))
	if err != nil {
		return 0, usage("rate", `octets per second, such as "500K"`, "%q is no rate", s)
	}
	if n < 1024 {
		return 0, usage("rate", `octets per second, such as "500K"`, "%q is less than 1K a second", s)
	}
	return n, nil
}

// ParseDayLimit reads the octets of a day, in the form of a size; -1 for "off". Less
// than a megabyte is refused: it would let no large message through, ever.
func ParseDayLimit(s string) (int64, error) {
	if s == "off" {
		return -1, nil
	}
	n, err := parseSize(s)
	if err != nil {
		return 0, usage("size", `octets in a day, such as "500M", or "off"`, "%q is no size", s)
	}
	if n < 1<<20 {
		return 0, usage("size", `octets in a day, such as "500M", or "off"`, "%q is less than 1M a day", s)
	}
	return n, nil
}

// ParsePace reads messages per second: "4", or "0.33" for one in three seconds.
// Fewer than one in a hundred seconds are refused: servers end connections that are
// silent for long.
func ParsePace(s string) (float64, error) {
	const hint = "messages per second, such as 4, or 0.33 for one in three seconds"
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.ContainsAny(s, "xX_") || math.IsNaN(n) {
		return 0, usage("pace", hint, "%q is no number of messages per second", s)
	}
	if n < 0.01 || n > 1e6 {
		return 0, usage("pace", hint, "%q is not between 0.01 and 1000000 messages per second", s)
	}
	return n, nil
}

// Date is a day, or a number of days back from the day on which it is asked.
// The zero Date is not set.
type Date struct {
	day  time.Time // its calendar date counts, not its zone
	back Age
	set  bool
}

// ParseDate reads "2024-01-31", or an age: "90d" is the day 90 days ago.
func ParseDate(s string) (Date, error) {
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return Date{day: day, set: true}, nil
	}
	age, err := ParseAge(s)
	if err != nil || age.Forever {
		return Date{}, usage("date", `such as "2024-01-31", or "90d" for 90 days ago`, "%q is no date", s)
	}
	return Date{back: age, set: true}, nil
}

// IsZero reports whether d is not set.
func (d Date) IsZero() bool { return !d.set }

// At is the beginning of the day, in the time zone of now; the zero time when d
// is not set. It stays the same for a whole day, so that runs of one day filter
// alike.
func (d Date) At(now time.Time) time.Time {
	switch {
	case !d.set:
		return time.Time{}
	case d.day.IsZero():
		return midnight(now).AddDate(0, 0, -d.back.Days)
	}
	return time.Date(d.day.Year(), d.day.Month(), d.day.Day(), 0, 0, 0, 0, now.Location())
}

// Age is how long something is kept. The zero Age is not set.
type Age struct {
	Days    int
	Forever bool
	Set     bool
}

// ParseAge reads "30d", "2w", "1y" (365 days), "0" or "forever".
func ParseAge(s string) (Age, error) {
	if s == "forever" {
		return Age{Forever: true, Set: true}, nil
	}
	if s == "0" {
		return Age{Set: true}, nil
	}
	if len(s) > 1 {
		unit := map[byte]int{'d': 1, 'w': 7, 'y': 365}[s[len(s)-1]]
		n, err := strconv.ParseUint(s[:len(s)-1], 10, 16)
		if err == nil && unit > 0 && int(n)*unit <= 100*365 {
			return Age{Days: int(n) * unit, Set: true}, nil
		}
	}
	return Age{}, usage("age", `such as "30d", "2w", "1y", "0" or "forever"`, "%q is no age", s)
}

// Duration is the age as time; Forever is the longest there is.
func (a Age) Duration() time.Duration {
	if a.Forever {
		return math.MaxInt64
	}
	return time.Duration(a.Days) * 24 * time.Hour
}

// ParseBound reads the largest number of messages that a run may delete.
func ParseBound(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n == 0 {
		return 0, usage("bound", "the most messages that a run may delete, such as 500", "%q is no number of messages", s)
	}
	return int(n), nil
}
