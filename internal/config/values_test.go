package config

import (
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "500": 500, "1K": 1024, "1k": 1024, "10M": 10 << 20, "10MB": 10 << 20, "10MiB": 10 << 20, "1.5G": 3 << 29, "2T": 2 << 40,
		"": -1, "K": -1, "-1": -1, "+1": -1, "1e9": -1, "0x10": -1, "1_000": -1, "NaN": -1, "Inf": -1, "10 M": -1, "99999999T": -1, "1.2.3": -1, ".": -1,
	} {
		got, err := ParseSize(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"500K": 500 << 10, "1M/s": 1 << 20, "1024": 1024, "1023": -1, "0": -1, "x": -1} {
		got, err := ParseRate(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseDate(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 5*3600)
	now := time.Date(2024, 3, 1, 13, 14, 15, 16, zone)
	for text, want := range map[string]string{
		"2024-01-31": "2024-01-31T00:00:00+05:00", "1d": "2024-02-29T00:00:00+05:00", "0": "2024-03-01T00:00:00+05:00",
		"2w": "2024-02-16T00:00:00+05:00", "90d": "2023-12-02T00:00:00+05:00",
		"": "error", "forever": "error", "2024-02-30": "error", "31.1.2024": "error", "d": "error", "-1d": "error", "1h": "error",
	} {
		got := "error"
		if d, err := ParseDate(text); err == nil {
			got = d.At(now).Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	if d := (Date{}); !d.IsZero() || !d.At(now).IsZero() {
		t.Error("the zero Date is set")
	}
	d, _ := ParseDate("7d")
	if morning, evening := d.At(now.Add(-13*time.Hour)), d.At(now.Add(10*time.Hour)); !morning.Equal(evening) {
		t.Errorf("differs within a day: %v, %v", morning, evening)
	}
}

func TestParseAge(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Age{
		"30d": {Days: 30, Set: true}, "2w": {Days: 14, Set: true}, "1y": {Days: 365, Set: true}, "0": {Set: true}, "0d": {Set: true},
		"forever": {Forever: true, Set: true}, "": {}, "30": {}, "1m": {}, "d": {}, "-1d": {}, "101y": {}, "99999999999d": {},
	} {
		if got, err := ParseAge(text); got != want || (err == nil) != want.Set {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	if got, want := (Age{Days: 2, Set: true}).Duration(), 48*time.Hour; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := (Age{Forever: true}).Duration(); got < 200*365*24*time.Hour {
		t.Errorf("forever: got %v", got)
	}
}

func TestParseBound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"50": 50, "1": 1, "0": 0, "10%": 0, "-1": 0, "": 0, "1.5": 0, "99999999999": 0} {
		if got, err := ParseBound(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	words := []string{"mirror", "max_delete", "mailboxes", "maildir", "user", "env", "INBOX"}
	for word, want := range map[string]string{
		"miror": "mirror", "mirrro": "mirror", "max-delete": "max_delete", "mailbox": "mailboxes", "Maildir": "maildir",
		"usr": "user", "evn": "env", "inbx": "INBOX", "zzz": "", "mai": "mailboxes", "inb": "INBOX", "ma": "", "": "", "x": "", "password": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
