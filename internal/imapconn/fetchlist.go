package imapconn

import (
	"context"
	"strconv"
	"strings"

	"postbag/internal/mail"
)

// listFetch is a FetchList on its way. All of it belongs to the reading
// goroutine while the command runs.
type listFetch struct {
	want   UIDSet
	fn     func(Item) error
	gone   func(lo, hi uint32) error
	parser *itemParser
	err    error // of fn or gone: nothing is called any more
	room   int   // responses to come before this is too many
}

// take handles a FETCH or VANISHED response, and answers whether it was one.
func (lf *listFetch) take(resp []byte) bool {
	s, _, ok := fetchItems(resp)
	if !ok {
		return lf.takeVanished(resp)
	}
	if lf.room--; lf.room < 0 {
		return false // a server that repeats itself for ever is stopped elsewhere
	}
	it := Item{Size: -1}
	for s.next() {
		lf.parser.apply(&it, s.name, s.val)
	}
	if it.UID == 0 || lf.err != nil || !s.closed || !lf.want.Contains(it.UID) {
		return true
	}
	lf.err = lf.fn(it)
	return true
}

// takeVanished handles VANISHED (RFC 7162, 3.2.10), with or without EARLIER.
func (lf *listFetch) takeVanished(resp []byte) bool {
	kind, _, rest, ok := splitUntagged(resp)
	if !ok || lf.gone == nil || !equalFold(kind, "VANISHED") {
		return false
	}
	set, err := parseVanished(rest)
	if err != nil || lf.err != nil {
		return true
	}
	for _, r := range set.Ranges() {
		if lf.err = lf.gone(r.Lo, r.Hi); lf.err != nil {
			break
		}
	}
	return true
}

// parseVanished parses what follows VANISHED.
func parseVanished(rest []byte) (UIDSet, error) {
	text := strings.TrimSpace(string(rest))
	if len(text) >= 9 && strings.EqualFold(text[:9], "(EARLIER)") {
		text = strings.TrimSpace(text[9:])
	}
	return ParseUIDSet(text)
}

// ParseVanished parses a VANISHED response: the UIDs of messages that are gone.
func ParseVanished(r Response) (UIDSet, error) {
	_, _, rest, ok := splitUntagged(r.Raw)
	if !ok || r.Kind != "VANISHED" {
		return UIDSet{}, errSet
	}
	return parseVanished(rest)
}

// fetchNames is how the items are asked for.
func fetchNames(items Items) string {
	names := []string{"UID"}
	for _, it := range []struct {
		item Items
		name string
	}{
		{Flags, "FLAGS"}, {Size, "RFC822.SIZE"}, {Date, "INTERNALDATE"}, {ModSeq, "MODSEQ"}, {EmailID, "EMAILID"},
		{GmailMsgID, "X-GM-MSGID"}, {GmailLabels, "X-GM-LABELS"}, {HeaderMessageID, "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"},
		{HeaderFields, "BODY.PEEK[HEADER.FIELDS (DATE FROM TO CC BCC SUBJECT MESSAGE-ID)]"},
	} {
		if items&it.item != 0 {
			names = append(names, it.name)
		}
	}
	return "(" + strings.Join(names, " ") + ")"
}

// FetchList asks for items of the messages in set (UID FETCH), and calls fn once
// for each FETCH response that names a UID in it: once for a message as a rule,
// more often when its flags change meanwhile, and then perhaps with less in it.
// A message that is not there is left out.
//
// changedSince, when not 0, asks only for messages changed since that MODSEQ
// (CONDSTORE, RFC 7162, 3.1.4.1); with vanished (QRESYNC, which must be enabled),
// gone is called for the UIDs that vanished since, whether they ever were in the
// mailbox or not. gone may be nil.
//
// fn and gone run in the reading goroutine and must not use the connection.
// Their error stops further calls, and is returned when the command is done.
func (c *Conn) FetchList(ctx context.Context, set UIDSet, items Items, changedSince uint64, vanished bool, fn func(Item) error, gone func(lo, hi uint32) error) error {
	modifier := ""
	if changedSince > 0 {
		modifier = " (CHANGEDSINCE " + strconv.FormatUint(changedSince, 10)
		if vanished {
			modifier += " VANISHED"
		}
		modifier += ")"
	}
	names := fetchNames(items)
	// VANISHED without EARLIER comes whenever QRESYNC is on (RFC 7162, 3.2.10.2).
	lf := &listFetch{fn: fn, gone: gone, parser: newItemParser(items)}
	c.wire.list.Store(lf)
	defer c.wire.list.Store(nil)
	for _, chunk := range set.Chunks(MaxSetBytes) {
		for !chunk.IsEmpty() {
			lf.want = chunk
			lf.room = 2*min(chunk.Count(), 1<<29) + 100_000
			s, err := c.roundTrip(ctx, "fetch", nil, Raw("UID FETCH "+chunk.String()+" "+names+modifier))
			if err != nil {
				return err
			}
			if s.Type == "OK" && lf.err != nil {
				return lf.err
			}
			if chunk, err = chunk.unprocessed(*s); err != nil {
				return err
			}
		}
	}
	return lf.err
}

// unprocessed is what a server left out of a set that has more messages than it
// takes in one command: it begins with the highest UID, and tells the lowest that
// it came to (RFC 9738, 3.1).
func (s UIDSet) unprocessed(status Status) (UIDSet, error) {
	_, lowest, ok := strings.Cut(status.CodeArgs, " ")
	if status.Code != "MESSAGELIMIT" || !ok {
		return UIDSet{}, nil
	}
	uid, ok := parseUint32([]byte(lowest))
	rest := s.Below(uid)
	if !ok || uid == 0 || rest.Count() == s.Count() {
		return UIDSet{}, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindProtocol, Op: "fetch",
			Err: protocolf("MESSAGELIMIT with %q", lowest)}
	}
	return rest, nil
}

// Selected is the answer to SELECT or EXAMINE (RFC 9051, 6.3.2). What the server
// did not say, or what is no number of the right size, is 0.
type Selected struct {
	Name           string // as on the wire
	UIDValidity    uint32
	UIDNext        uint32
	Exists         uint32
	HighestModSeq  uint64
	ReadOnly       bool       // EXAMINE, or [READ-ONLY]
	PermanentFlags mail.Flags // those of PERMANENTFLAGS that are valid
	PermanentAny   bool       // it holds \*: new keywords can be made
	HasPermanent   bool       // there was one: without it, every flag is permanent
	MailboxID      string     // RFC 8474
	NoModSeq       bool       // [NOMODSEQ]: this mailbox keeps none
}
