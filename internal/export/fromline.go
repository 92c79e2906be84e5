package export

import (
	"strconv"
	"strings"
	"time"
)

// parseFrom reads a From_ line without its end: "From SENDER DATE", where the date
// is that of asctime, with or without seconds and a zone before or after the year.
// ok is false for a line that only begins like one.
func parseFrom(line string) (at time.Time, ok bool) {
	words := strings.Fields(strings.TrimPrefix(line, fromLine))
	for i := 2; i+1 < len(words); i++ {
		clock, err := time.Parse("15:04:05", words[i])
		if err != nil {
			if clock, err = time.Parse("15:04", words[i]); err != nil {
				continue
			}
		}
		month, err := time.Parse("Jan", words[i-2])
		day, derr := strconv.Atoi(words[i-1])
		if err != nil || derr != nil || day < 1 || day > 31 {
			continue
		}
		year, zone := 0, time.UTC
		for _, w := range words[i+1:] {
			n, err := strconv.Atoi(w)
			switch {
			case err == nil && len(w) == 5 && (w[0] == '+' || w[0] == '-'):
				zone = time.FixedZone("", (n/100*60+n%100)*60)
			case err == nil && len(w) == 4 && w[0] != '+' && w[0] != '-' && year == 0:
				year = n
			}
		}
		if year > 0 {
			return time.Date(year, month.Month(), day, clock.Hour(), clock.Minute(), clock.Second(), 0, zone), true
		}
	}
	return time.Time{}, false
}
