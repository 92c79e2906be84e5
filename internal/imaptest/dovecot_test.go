package imaptest

import (
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/mail"
)

// take is the samples as a slice.
func take(s iter.Seq[demo.Sample]) []demo.Sample { return slices.Collect(s) }

// safe leaves out the samples that Dovecot refuses or alters.
func safe(samples []demo.Sample) []demo.Sample {
	return slices.DeleteFunc(slices.Clone(samples), func(s demo.Sample) bool { return !s.Safe() })
}

func TestDovecotAgreesWithEmbedded(t *testing.T) {
	t.Parallel()
	samples := append(take(demo.Corpus(3, 150)), safe(demo.Torture())...)
	e := StartEmbedded(t, slices.Values(samples))
	embedded := e.Target().MustDump(t)
	if got, want := embedded.Count(), len(samples); got != want {
		t.Errorf("the embedded server holds %d messages, want %d", got, want)
	}
	for _, o := range []DovecotOptions{{}, {Maildir: true}} {
		d := StartDovecot(t, o)
		user := d.NewUser()
		if got, want := d.Fill(user, slices.Values(samples)), len(samples); got != want {
			t.Errorf("Fill sent %d messages, want %d", got, want)
		}
		dovecot := d.Target(user).MustDump(t)
		if diff := Diff(embedded.Content(), dovecot.Content()); diff != "" {
			t.Errorf("embedded (-) and Dovecot (+), %+v, differ:\n%s", o, diff)
		}
	}
}

func TestDovecotAltersOddMessages(t *testing.T) {
	t.Parallel()
	d := StartDovecot(t, DovecotOptions{})
	for name, c := range map[string]struct{ in, out string }{
		"bare lf": {"Subject: a\n\nb\n", "Subject: a\r\n\r\nb\r\n"},
		"nul":     {"Subject: a\r\n\r\nb\x00c\r\n", "Subject: a\r\n\r\nb\x80c\r\n"},
		"crcrlf":  {"Subject: a\r\n\r\nb\r\r\n", "Subject: a\r\n\r\nb\r\n"},
	} {
		user := d.NewUser()
		sample := func(raw string) []demo.Sample {
			return []demo.Sample{{Mailbox: "INBOX", Raw: []byte(raw), Date: time.Unix(1e9, 0)}}
		}
		d.Fill(user, slices.Values(sample(c.in)))
		got := d.Target(user).MustDump(t)
		want := StartEmbedded(t, slices.Values(sample(c.out))).Target().MustDump(t)
		if diff := Diff(got.Content(), want.Content()); diff != "" {
			t.Errorf("%s: got (-), want (+):\n%s", name, diff)
		}
	}
	if got := d.Fill(d.NewUser(), slices.Values([]demo.Sample{{Mailbox: "INBOX"}})); got != 0 {
		t.Errorf("Fill sent %d empty messages", got)
	}
}

func TestDovecotRestartKeepsMailAndUIDs(t *testing.T) {
	t.Parallel()
	d := StartDovecot(t, DovecotOptions{})
	d.Fill("u", demo.Corpus(1, 60))
	want := d.Target("u").MustDump(t)
	d.Restart()
	got := d.Target("u").MustDump(t)
	if diff := Diff(got.String(), want.String()); diff != "" {
		t.Errorf("after a restart (-) and before (+):\n%s", diff)
	}
}

func TestDovecotBumpUIDValidity(t *testing.T) {
	t.Parallel()
	d := StartDovecot(t, DovecotOptions{})
	d.Fill("u", demo.Corpus(1, 20))
	before := d.Target("u").MustDump(t)
	const name = "Projets/Été"
	fresh := d.BumpUIDValidity("u", name)
	after := d.Target("u").MustDump(t)
	if got := after[name].UIDValidity; got != fresh || got == before[name].UIDValidity {
		t.Errorf("UIDVALIDITY is %d, said %d, was %d", got, fresh, before[name].UIDValidity)
	}
	if diff := Diff(before.Content(), after.Content()); diff != "" {
		t.Errorf("the content changed:\n%s", diff)
	}
}

func TestDovecotOptions(t *testing.T) {
	t.Parallel()
	d := StartDovecot(t, DovecotOptions{NoCaps: []string{"QRESYNC", "CONDSTORE"}, Compress: true, Prefix: "INBOX.", Delimiter: "."})
	c, err := Dial(d.TLSTarget("u"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lines, err := c.Do("CAPABILITY")
	if err != nil {
		t.Fatal(err)
	}
	caps := strings.Fields(lines[0].Text)
	for cap, want := range map[string]bool{"QRESYNC": false, "CONDSTORE": false, "COMPRESS=DEFLATE": true, "LIST-STATUS": true} {
		if got := slices.Contains(caps, cap); got != want {
			t.Errorf("%s offered: %v, want %v", cap, got, want)
		}
	}
	if _, err := c.Do("CREATE INBOX.a.b"); err != nil {
		t.Error(err)
	}
	if _, err := c.Do("CREATE outside"); err == nil {
		t.Error("a mailbox outside the prefix was made")
	}
}

func TestDovecotFillKeepsFlagsAndDates(t *testing.T) {
	t.Parallel()
	d := StartDovecot(t, DovecotOptions{Maildir: true})
	at := time.Date(2019, time.May, 4, 3, 2, 1, 0, time.FixedZone("", -5*3600))
	flags := mail.ParseFlags(`\Seen`, `\Flagged`, "$Forwarded", "receipts")
	d.Fill("u", slices.Values([]demo.Sample{{Mailbox: "Ünïcödé/日本語", Raw: []byte("Subject: x\r\n\r\ny\r\n"), Date: at, Flags: flags}}))
	got := d.Target("u").MustDump(t)["Ünïcödé/日本語"]
	if len(got.Messages) != 1 || !got.Messages[0].Flags.Equal(flags) || !got.Messages[0].Date.Equal(at) || got.Messages[0].Size != 17 {
		t.Errorf("got %+v, want flags %s, date %s, size 17", got, flags, at)
	}
}

func BenchmarkDovecotFill(b *testing.B) {
	d := StartDovecot(b, DovecotOptions{})
	samples := take(demo.Corpus(1, 2000))
	b.ResetTimer()
	for range b.N {
		d.Fill(d.NewUser(), slices.Values(samples))
	}
	b.ReportMetric(float64(b.N*len(samples))/b.Elapsed().Seconds(), "msg/s")
}
