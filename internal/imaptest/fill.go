package imaptest

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"postbag/internal/demo"
)

// Bounds of one MULTIAPPEND.
const (
	fillMessages = 250
	fillOctets   = 8 << 20
)

// Fill uploads samples, making their mailboxes as they come, with MULTIAPPEND
// and LITERAL+: some 10,000 messages a second. Within a mailbox the order stays.
// Samples without an octet are left out, since Dovecot refuses them; Fill
// answers with the number of those that are there.
func (d *Dovecot) Fill(user string, samples iter.Seq[demo.Sample]) int {
	d.tb.Helper()
	n, err := d.Target(user).Fill(samples)
	if err != nil {
		d.tb.Fatalf("dovecot: %v\n%s", err, d.Log())
	}
	return n
}

// Fill is as Dovecot.Fill, for any server. Where there is no MULTIAPPEND or no
// LITERAL+, messages go up one by one.
func (t Target) Fill(samples iter.Seq[demo.Sample]) (n int, err error) {
	c, err := Dial(t)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closeErr := c.Close(); err == nil {
			err = closeErr
		}
	}()
	existing, err := c.Mailboxes()
	if err != nil {
		return 0, err
	}
	quick := c.Offers("MULTIAPPEND") && c.Offers("LITERAL+")
	pending := map[string]*upload{}
	for s := range samples {
		if len(s.Raw) == 0 {
			continue
		}
		if !slices.Contains(existing, s.Mailbox) {
			if _, err := c.Do("CREATE " + c.Name(s.Mailbox)); err != nil {
				return n, err
			}
			existing = append(existing, s.Mailbox)
		}
		if !quick {
			if err := c.Append(s.Mailbox, s.Flags, s.Date, s.Raw); err != nil {
				return n, fmt.Errorf("%s%s: %w", s.Mailbox, s.Label, err)
			}
			n++
			continue
		}
		u := pending[s.Mailbox]
		if u == nil {
			u = &upload{}
			pending[s.Mailbox] = u
		}
		u.add(s)
		if n++; u.count >= fillMessages || u.body.Len() >= fillOctets {
			if err := u.send(c, s.Mailbox); err != nil {
				return n, err
			}
		}
	}
	for mailbox, u := range pending {
		if err := u.send(c, mailbox); err != nil {
			return n, err
		}
	}
	return n, nil
}

// upload is a MULTIAPPEND (RFC 3502) in the making, without its beginning.
type upload struct {
	body  bytes.Buffer
	count int
}

func (u *upload) add(s demo.Sample) {
	fmt.Fprintf(&u.body, " (%s) %s {%d+}\r\n", s.Flags, quoteDate(s.Date), len(s.Raw))
	u.body.Write(s.Raw)
	u.count++
}

func (u *upload) send(c *Client, mailbox string) error {
	if u.count == 0 {
		return nil
	}
	command := fmt.Appendf(nil, "APPEND %s", c.Name(mailbox))
	_, err := c.Do(string(append(command, u.body.Bytes()...)))
	u.body.Reset()
	u.count = 0
	if status, ok := err.(*StatusError); ok {
		status.Command = string(command) // not the messages
	}
	return err
}
