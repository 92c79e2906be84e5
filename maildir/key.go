package maildir

import (
	"encoding/hex"
	"io"
	"strconv"
	"strings"
	"time"
)

// Our own keys are "SECONDS.RANDOM.HOST": the time of delivery, 80 random bits
// and a fixed word in the place of the host's name, which is nobody's business.
// The word tells our files in tmp/ from others', and tells how the message's
// line ends are stored (see lines.go).
const (
	keyHost    = "postbag"
	keyHostRaw = "postbag-raw"
)

// newKey makes a key that nobody can guess, of at most 50 octets.
func newKey(now time.Time, random io.Reader) (string, error) {
	var r [10]byte
	if _, err := io.ReadFull(random, r[:]); err != nil {
		return "", err
	}
	return strconv.FormatInt(max(now.Unix(), 0), 10) + "." + hex.EncodeToString(r[:]) + "." + keyHost, nil
}

// rawKey is key with the mark of a message stored raw.
func rawKey(key string) string { return strings.TrimSuffix(key, "."+keyHost) + "." + keyHostRaw }

// isRawKey reports whether the key says that the message is stored raw. Fields
// that other tools append do not hide the mark.
func isRawKey(key string) bool {
	base, _, _ := strings.Cut(key, ",")
	return strings.HasSuffix(base, "."+keyHostRaw)
}

// isOwnKey reports whether name is a key as newKey and rawKey make them: a file
// of that name in tmp/ is ours to remove.
func isOwnKey(name string) bool {
	parts := strings.Split(name, ".")
	if len(parts) != 3 || parts[2] != keyHost && parts[2] != keyHostRaw {
		return false
	}
	if len(parts[1]) != 20 || strings.Trim(parts[1], "0123456789abcdef") != "" {
		return false
	}
	return parts[0] != "" && len(parts[0]) <= 12 && strings.Trim(parts[0], "0123456789") == ""
}
