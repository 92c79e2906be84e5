package config

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"postbag/internal/mail"
)

// Server is the address of an IMAP account: imaps://user@host:port (TLS from
// the first octet) or imap://user@host:port (STARTTLS). It never holds a
// password.
type Server struct {
	Scheme string // "imaps" or "imap"; "" in a Server that is not set
	User   string // decoded; may be empty
	Host   string // ASCII name in lower case, or an IP address without brackets
	Port   int
}

// ports are the default ports (RFC 8314, 3.2; RFC 9051, 2.1).
var ports = map[string]int{"imaps": 993, "imap": 143}

// IsURL reports whether s has the form of an address, with any scheme.
func IsURL(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && scheme != "" && !strings.ContainsAny(scheme, `/\.~`)
}

// RedactURL is s without the password that it may hold.
func RedactURL(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return s
	}
	user, _, found := strings.Cut(rest[:at], ":")
	if !found {
		return s
	}
	return scheme + "://" + user + ":***" + rest[at:]
}

// ParseServer reads an address. The user may hold "@" as it is; anything else
// that is special to an address is percent-encoded. Errors never repeat a
// password.
func ParseServer(s string) (Server, error) {
	fail := func(hint, format string, args ...any) (Server, error) {
		return Server{}, usage("server "+RedactURL(s), hint, format, args...)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	if !ok {
		return fail("write imaps://user@host", "is no address")
	}
	if ports[scheme] == 0 {
		return fail("write imaps:// or, for STARTTLS, imap://", "unknown scheme %q", scheme)
	}
	out := Server{Scheme: scheme, Port: ports[scheme]}
	host := rest
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user := rest[:at]
		host = rest[at+1:]
		if strings.Contains(user, ":") {
			return fail("take it out and give --password-command, --password-file or --password-env; a colon in the user's name is written %3A",
				"a password does not belong in an address: other users and the shell's history see it")
		}
		decoded, err := url.PathUnescape(user)
		if err != nil {
			return fail("a percent sign is written %25", "the user has a %% that starts no code")
		}
		if err := checkUser(decoded); err != nil {
			return fail("", "the user %w", mail.AsError(err).Err)
		}
		out.User = decoded
	}
	host = strings.TrimSuffix(host, "/")
	if strings.ContainsAny(host, "/?#") {
		return fail("choose mailboxes with --mailbox", "nothing may follow the host")
	}
	var err error
	if out.Host, out.Port, err = splitHost(host, out.Port); err != nil {
		return fail("", "%w", mail.AsError(err).Err)
	}
	return out, nil
}

// splitHost separates host and port, and checks both.
func splitHost(s string, port int) (string, int, error) {
	host := s
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, usage("", "", "a [ is not closed")
		}
		host = s[1:end]
		addr, err := netip.ParseAddr(strings.Replace(host, "%25", "%", 1))
		if err != nil || !addr.Is6() {
			return "", 0, usage("", "", "%q is no IPv6 address", host)
		}
		host = addr.String()
		s = s[end+1:]
		if s != "" && s[0] != ':' {
			return "", 0, usage("", "", "only a port may follow the ]")
		}
	} else {
		host, _, _ = strings.Cut(s, ":")
		s = s[len(host):]
		if strings.Count(s, ":") > 1 {
			return "", 0, usage("", "", "an IPv6 address is written in brackets, as [::1]")
		}
		var err error
		if host, err = checkHost(host); err != nil {
			return "", 0, err
		}
	}
	if text, ok := strings.CutPrefix(s, ":"); ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 65535 || text[0] == '+' {
			return "", 0, usage("", "", "%q is no port", text)
		}
		port = n
	}
	return host, port, nil
}

// checkHost brings a host name into its ASCII form.
func checkHost(host string) (string, error) {
	if host == "" {
		return "", usage("", "", "it names no host")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String(), nil
	}
	ascii := host
	if !isASCII(host) {
		var err error
		if ascii, err = idna.Lookup.ToASCII(host); err != nil {
			return "", usage("", "", "%q is no host name", host)
		}
	}
	ascii = strings.ToLower(ascii)
	for _, r := range ascii {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-._", r)) {
			return "", usage("", "", "%q is no host name", host)
		}
	}
	if len(ascii) > 253 || strings.HasPrefix(ascii, "-") || strings.HasPrefix(ascii, ".") {
		return "", usage("", "", "%q is no host name", host)
	}
	return ascii, nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// checkUser refuses what cannot be a user's name: no server takes control
// characters in one, and on the wire they would begin another command.
func checkUser(user string) error {
	switch {
	case user == "":
		return usage("user", "", "is empty")
	case len(user) > 1000:
		return usage("user", "", "is longer than 1000 octets")
	case !utf8.ValidString(user):
		return usage("user", "", "is no UTF-8")
	case strings.ContainsFunc(user, unicode.IsControl):
		return usage("user", "", "holds a control character")
	}
	return nil
}

// Addr is "host:port", as package net wants it.
func (s Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Identity names the account, however it is reached: the same with and without
// STARTTLS, "user@host", with the port where it is not the scheme's own (bridges
// on this host differ by nothing else).
func (s Server) Identity() string {
	_, rest, _ := strings.Cut(s.String(), "://")
	return rest
}

// IsLoopback reports whether the host is this machine.
func (s Server) IsLoopback() bool {
	addr, err := netip.ParseAddr(s.Host)
	return err == nil && addr.IsLoopback() || s.Host == "localhost"
}

// String is the address, with the port left out where it is the default.
func (s Server) String() string {
	host := s.Host
	if strings.Contains(host, ":") {
		host = "[" + strings.Replace(host, "%", "%25", 1) + "]"
	}
	if s.Port != ports[s.Scheme] {
		host += ":" + strconv.Itoa(s.Port)
	}
	if s.User != "" {
		host = escapeUser(s.User) + "@" + host
	}
	return s.Scheme + "://" + host
}

// escapeUser is the inverse of what ParseServer does to a user; "@" stays.
func escapeUser(user string) string {
	escaped := strings.ReplaceAll(url.PathEscape(user), ":", "%3A")
	return strings.ReplaceAll(escaped, "%40", "@")
}

// ParsePin reads the SHA-256 of a public key (SubjectPublicKeyInfo): 64
// hexadecimal digits, with or without colons, or base64; "sha256:" and
// "sha256//" may come before it.
func ParsePin(s string) ([]byte, error) {
	text := s
	for _, prefix := range []string{"sha256//", "sha256:", "SHA256:"} {
		text = strings.TrimPrefix(text, prefix)
	}
	if pin, err := hex.DecodeString(strings.ReplaceAll(text, ":", "")); err == nil && len(pin) == sha256.Size {
		return pin, nil
	}
	if pin, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "=")); err == nil && len(pin) == sha256.Size {
		return pin, nil
	}
	return nil, usage("pin", "the SHA-256 of the certificate's public key, as 64 hexadecimal digits or base64",
		"%q is no SHA-256", s)
}
