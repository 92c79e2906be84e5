package demo

import (
	"bufio"
	"bytes"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-message/textproto"

	"postbag/internal/mail"
)

// envelope is the ENVELOPE of a message; nil, which is sent as all NIL, when
// the header does not parse.
func envelope(raw []byte) *imap.Envelope {
	header, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil
	}
	return imapserver.ExtractEnvelope(header)
}

func (s *session) Search(kind imapserver.NumKind, c *imap.SearchCriteria, _ *imap.SearchOptions) (*imap.SearchData, error) {
	if err := s.beforeSelected("SEARCH"); err != nil {
		return nil, err
	}
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	data := &imap.SearchData{}
	var seqs imap.SeqSet
	var uids imap.UIDSet
	for i, m := range s.view.msgs {
		seq := uint32(i + 1)
		if m.gone || !s.view.match(selected{seq, m, m.flags}, c) {
			continue
		}
		num := m.uid
		if kind == imapserver.NumKindSeq {
			num = seq
			seqs.AddNum(seq)
		} else {
			uids.AddNum(imap.UID(m.uid))
		}
		if data.Count == 0 {
			data.Min = num
		}
		data.Max = num
		data.Count++
	}
	data.All = uids
	if kind == imapserver.NumKindSeq {
		data.All = seqs
	}
	return data, nil
}

// match reports whether a message meets all criteria (RFC 9051, 6.4.4).
func (v *view) match(p selected, c *imap.SearchCriteria) bool {
	for _, set := range c.SeqNum {
		if !v.holds(set, p) {
			return false
		}
	}
	for _, set := range c.UID {
		if !v.holds(set, p) {
			return false
		}
	}
	if !onDay(p.msg.date, c.Since, c.Before) || !matchFlags(p.flags, c) || !matchContent(p.msg.raw, c) {
		return false
	}
	for i := range c.Not {
		if v.match(p, &c.Not[i]) {
			return false
		}
	}
	for i := range c.Or {
		if !v.match(p, &c.Or[i][0]) && !v.match(p, &c.Or[i][1]) {
			return false
		}
	}
	return true
}

// holds reports whether a set names the message; "*" is the last one.
func (v *view) holds(set imap.NumSet, p selected) bool {
	in := func(from, to, num, last uint32) bool {
		if from == 0 {
			from = last
		}
		if to == 0 {
			to = last
		}
		return min(from, to) <= num && num <= max(from, to)
	}
	last := v.msgs[len(v.msgs)-1].uid
	switch set := set.(type) {
	case imap.SeqSet:
		return slices.ContainsFunc(set, func(r imap.SeqRange) bool {
			return in(r.Start, r.Stop, p.seq, uint32(len(v.msgs)))
		})
	case imap.UIDSet:
		return slices.ContainsFunc(set, func(r imap.UIDRange) bool {
			return in(uint32(r.Start), uint32(r.Stop), p.msg.uid, last)
		})
	}
	return false
}

func matchFlags(have mail.Flags, c *imap.SearchCriteria) bool {
	for _, f := range c.Flag {
		if !hasFlag(have, f) {
			return false
		}
	}
	for _, f := range c.NotFlag {
		if hasFlag(have, f) {
			return false
		}
	}
	return true
}

func hasFlag(have mail.Flags, f imap.Flag) bool {
	if !strings.HasPrefix(string(f), `\`) {
		return have.Keywords.Has(string(f))
	}
	want := mail.ParseFlags(string(f)).System
	return want != 0 && have.System&want == want
}

func matchContent(raw []byte, c *imap.SearchCriteria) bool {
	size := int64(len(raw))
	if c.Larger != 0 && size <= c.Larger || c.Smaller != 0 && size >= c.Smaller {
		return false
	}
	header, body := splitHeader(raw)
	for _, h := range c.Header {
		if !matchHeader(header, h) {
			return false
		}
	}
	if !c.SentSince.IsZero() || !c.SentBefore.IsZero() {
		sent, err := netmail.ParseDate(strings.TrimSpace(field(header, "Date")))
		if err != nil || !onDay(sent, c.SentSince, c.SentBefore) {
			return false
		}
	}
	for _, text := range c.Text {
		if !containsFold(raw, text) {
			return false
		}
	}
	for _, text := range c.Body {
		if !containsFold(body, text) {
			return false
		}
	}
	return true
}

func matchHeader(header []byte, h imap.SearchCriteriaHeaderField) bool {
	fields := selectFields(header, []string{h.Key}, true)
	if len(fields) <= 2 { // the empty line alone
		return false
	}
	unfolded := bytes.ReplaceAll(bytes.ReplaceAll(fields, []byte("\r\n"), nil), []byte("\n"), nil)
	return containsFold(unfolded, h.Value)
}

// field is the value of the first field of that name, unfolded.
func field(header []byte, name string) string {
	fields := string(selectFields(header, []string{name}, true))
	_, value, _ := strings.Cut(fields, ":")
	return strings.NewReplacer("\r", "", "\n", "").Replace(value)
}

func containsFold(raw []byte, text string) bool {
	return bytes.Contains(bytes.ToLower(raw), bytes.ToLower([]byte(text)))
}

// onDay compares days without regard to the time and the zone (RFC 9051,
// 6.4.4, SINCE and BEFORE).
func onDay(at, since, before time.Time) bool {
	day := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
	return (since.IsZero() || !day.Before(since)) && (before.IsZero() || day.Before(before))
}
