package config

import (
	"strings"
	"testing"

	"postbag/internal/mail"
)

func TestParseServer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url  string
		want Server
		text string // of String; "" when it is url
	}{
		{"imaps://me@imap.example.org", Server{"imaps", "me", "imap.example.org", 993}, ""},
		{"imap://me@imap.example.org", Server{"imap", "me", "imap.example.org", 143}, ""},
		{"IMAPS://me@IMAP.Example.org/", Server{"imaps", "me", "imap.example.org", 993}, "imaps://me@imap.example.org"},
		{"imaps://me@example.org@imap.example.org:1993", Server{"imaps", "me@example.org", "imap.example.org", 1993}, ""},
		{"imaps://me%40example.org@h", Server{"imaps", "me@example.org", "h", 993}, "imaps://me@example.org@h"},
		{"imaps://a%3Ab%25c%20d%5Ce@h", Server{"imaps", `a:b%c d\e`, "h", 993}, ""},
		{"imaps://user+tag@h", Server{"imaps", "user+tag", "h", 993}, ""},
		{"imaps://boss%2Asmith@h", Server{"imaps", "boss*smith", "h", 993}, ""},
		{"imaps://boss*smith@h", Server{"imaps", "boss*smith", "h", 993}, "imaps://boss%2Asmith@h"},
		{"imaps://h", Server{"imaps", "", "h", 993}, ""},
		{"imap://me@[::1]:1143", Server{"imap", "me", "::1", 1143}, ""},
		{"imap://me@[::1]", Server{"imap", "me", "::1", 143}, ""},
		{"imap://me@[fe80::1%25eth0]:1143", Server{"imap", "me", "fe80::1%eth0", 1143}, ""},
		{"imap://me@127.0.0.1:143", Server{"imap", "me", "127.0.0.1", 143}, "imap://me@127.0.0.1"},
		{"imaps://me@bücher.example", Server{"imaps", "me", "xn--bcher-kva.example", 993}, "imaps://me@xn--bcher-kva.example"},
		{"imaps://j%C3%BCrgen@h", Server{"imaps", "jürgen", "h", 993}, ""},
	}
	for _, test := range tests {
		got, err := ParseServer(test.url)
		if err != nil || got != test.want {
			t.Errorf("%s: got %+v, %v, want %+v", test.url, got, err, test.want)
			continue
		}
		want := test.text
		if want == "" {
			want = test.url
		}
		if got := got.String(); got != want {
			t.Errorf("%s: String: got %s, want %s", test.url, got, want)
		}
	}
	if got, want := (Server{"imaps", "me", "::1", 993}).Addr(), "[::1]:993"; got != want {
		t.Errorf("Addr: got %s, want %s", got, want)
	}
}

func TestParseServerErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ url, want string }{
		{"imapss://me@h", `server imapss://me@h: unknown scheme "imapss"`},
		{"pop3://me:" + canary + "@h", `server pop3://me:***@h: unknown scheme "pop3"`},
		{"me@h", "server me@h: is no address"},
		{"imaps://me:" + canary + "@h", "server imaps://me:***@h: a password does not belong in an address: other users and the shell's history see it"},
		{"imaps://me:" + canary + "@" + canary + "@h", "server imaps://me:***@h: a password does not belong in an address: other users and the shell's history see it"},
		{"imaps://me:@h", "server imaps://me:***@h: a password does not belong in an address: other users and the shell's history see it"},
		{"imaps://@h", "server imaps://@h: the user is empty"},
		{"imaps://a%0d%0aA1%20LOGOUT@h", "server imaps://a%0d%0aA1%20LOGOUT@h: the user holds a control character"},
		{"imaps://a%00@h", "server imaps://a%00@h: the user holds a control character"},
		{"imaps://a%c2%85@h", "server imaps://a%c2%85@h: the user holds a control character"},
		{"imaps://a%ff@h", "server imaps://a%ff@h: the user is no UTF-8"},
		{"imaps://100%@h", "server imaps://100%@h: the user has a % that starts no code"},
		{"imaps://me@", "server imaps://me@: it names no host"},
		{"imaps://", "server imaps://: it names no host"},
		{"imaps://me@h/INBOX", "server imaps://me@h/INBOX: nothing may follow the host"},
		{"imaps://me@h?x", "server imaps://me@h?x: nothing may follow the host"},
		{"imaps://me@h:", `server imaps://me@h:: "" is no port`},
		{"imaps://me@h:0", `server imaps://me@h:0: "0" is no port`},
		{"imaps://me@h:65536", `server imaps://me@h:65536: "65536" is no port`},
		{"imaps://me@h:+9", `server imaps://me@h:+9: "+9" is no port`},
		{"imaps://me@::1", "server imaps://me@::1: an IPv6 address is written in brackets, as [::1]"},
		{"imaps://me@[::1", "server imaps://me@[::1: a [ is not closed"},
		{"imaps://me@[::1]9", "server imaps://me@[::1]9: only a port may follow the ]"},
		{"imaps://me@[127.0.0.1]", `server imaps://me@[127.0.0.1]: "127.0.0.1" is no IPv6 address`},
		{"imaps://me@a b", `server imaps://me@a b: "a b" is no host name`},
		{"imaps://me@-h", `server imaps://me@-h: "-h" is no host name`},
		{"imaps://me@h\r\n", `server imaps://me@h` + "\r\n" + `: "h\r\n" is no host name`},
	}
	for _, test := range tests {
		_, err := ParseServer(test.url)
		if got := errText(err); got != test.want {
			t.Errorf("%q:\ngot  %q\nwant %q", test.url, got, test.want)
		}
		if err != nil && (mail.AsError(err).Kind != mail.KindUsage || strings.Contains(err.Error()+mail.AsError(err).Hint, canary)) {
			t.Errorf("%q: got %+v", test.url, mail.AsError(err))
		}
	}
}

func TestIsLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{"127.0.0.1": true, "127.9.9.9": true, "::1": true, "localhost": true, "localhost.example.org": false, "10.0.0.1": false, "h": false} {
		if got := (Server{Host: host}).IsLoopback(); got != want {
			t.Errorf("%s: got %v, want %v", host, got, want)
		}
	}
}

func TestParsePin(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F",
		"sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
	} {
		pin, err := ParsePin(text)
		if err != nil || len(pin) != 32 || pin[0] != 0 || pin[31] != 31 {
			t.Errorf("%s: got %x, %v", text, pin, err)
		}
	}
	for _, text := range []string{"", "sha256:", "00", "zz", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg=="} {
		if pin, err := ParsePin(text); err == nil {
			t.Errorf("%q: got %x, want an error", text, pin)
		}
	}
}

// An address that is read is written and read again as the same one, and holds
// nothing that could end a line or a command.
func FuzzParseServer(f *testing.F) {
	for _, s := range []string{"imaps://me@h", "imap://a%40b@[::1]:99", "imaps://a%3ab@h.example:1/", "imaps://jürgen@bücher.example", "imap://x@[fe80::1%25e]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		server, err := ParseServer(s)
		if err != nil {
			return
		}
		again, err := ParseServer(server.String())
		if err != nil || again != server {
			t.Errorf("%q: got %+v, then from %s %+v, %v", s, server, server, again, err)
		}
		if strings.ContainsAny(server.User+server.Host, "\r\n\x00") {
			t.Errorf("%q: got %+v", s, server)
		}
	})
}
