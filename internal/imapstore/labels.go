package imapstore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// Labels. Gmail shows each label as a mailbox, and every message in \All as well.
// With UseLabels a message is in the mailboxes of its labels, and in \All only while
// it has none: what moves between a label and the archive looks like any other move.
//
//   - Only labels whose mailboxes are listed count: one that is hidden from IMAP must
//     not hide its messages. Which of those count is for the caller to say.
//   - \Flagged, \Important and the chats are views of mail that lies elsewhere.
//   - The set of labels that count is part of the cursor and of the stamp of \All, and
//     that there is one of its UIDVALIDITY: a change makes all of it be looked at again.

// labelSet are the labels that keep a message out of \All, as X-GM-LABELS tells them.
type labelSet struct {
	names map[string]bool
	hash  string
}

// systemLabels are the names that X-GM-LABELS has for mailboxes with a role.
var systemLabels = map[mail.SpecialUse][]string{
	mail.UseSent: {`\Sent`}, mail.UseDrafts: {`\Draft`, `\Drafts`}, mail.UseJunk: {`\Spam`, `\Junk`}, mail.UseTrash: {`\Trash`},
}

// labelsSuffix marks the validity of \All when it shows only what has no label.
const labelsSuffix = " labels"

// UseLabels makes \All show only the messages that have no label whose mailbox counts,
// on a server that has labels. It is for the time before the first listing of a run;
// the next one heeds it.
func (s *Store) UseLabels(counts func(mail.MailboxInfo) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.labels = counts
}

// HasLabels reports whether the server has labels, as the last listing told.
func (s *Store) HasLabels() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gmail
}

// markViews marks what is a view among the mailboxes of a listing, and finds the
// labels that count. It answers with the name of \All and with those labels; "" when
// the server has none.
func markViews(mailboxes []*listed, infos []mail.MailboxInfo, counts func(mail.MailboxInfo) bool) (all string, set *labelSet) {
	i := slices.IndexFunc(infos, func(info mail.MailboxInfo) bool { return info.Use == mail.UseAll && !info.NoSelect && info.Err == nil })
	if i < 0 {
		return "", nil
	}
	all = infos[i].Name
	chats := mail.JoinName(append(slices.Clone(mail.SplitName(all)[:len(mail.SplitName(all))-1]), "Chats")...)
	set = &labelSet{names: make(map[string]bool)}
	for i, m := range mailboxes {
		info := &infos[i]
		info.View = info.Use == mail.UseFlagged || m.is(`\IMPORTANT`) || info.Name == chats
		if info.View || info.NoSelect || info.Err != nil || info.Name == all || !counts(*info) {
			continue
		}
		switch system := systemLabels[info.Use]; {
		case isInbox(m.wire):
			set.names[`\inbox`] = true
		case system != nil:
			for _, name := range system {
				set.names[strings.ToLower(name)] = true
			}
		default:
			set.names[m.wire] = true
		}
	}
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(set.names)) {
		fmt.Fprintf(h, "%d %s\n", len(name), name)
	}
	set.hash = fmt.Sprintf("%x", h.Sum64())
	return all, set
}

// has reports whether one of the labels counts.
func (l *labelSet) has(labels []string) bool {
	return slices.ContainsFunc(labels, func(name string) bool {
		if strings.HasPrefix(name, `\`) {
			name = strings.ToLower(name)
		}
		return l.names[name]
	})
}

// validity is a UIDVALIDITY as MailboxInfo has it, of the mailbox \All.
func (l *labelSet) validity(v string) string {
	if l == nil || v == "" {
		return v
	}
	return v + labelsSuffix
}

// stamp is a stamp of the mailbox \All.
func (l *labelSet) stamp(stamp string) string {
	if l == nil || stamp == "" {
		return stamp
	}
	return stamp + " l=" + l.hash
}

// describe puts what the labels make of \All into its description.
func (l *labelSet) describe(info *mail.MailboxInfo) {
	if l != nil {
		info.Validity, info.Stamp = l.validity(info.Validity), l.stamp(info.Stamp)
		info.Messages, info.Bytes = -1, -1 // the server counts those with labels, too
	}
}

// labelled counts a mailbox that was just made among the labels, until the next
// listing. The caller holds the lock.
func (s *Store) labelled(name, wire string) {
	if s.labels == nil || !s.labels(mail.MailboxInfo{Name: name}) {
		return
	}
	for all, p := range s.names {
		if p.labels != nil {
			set := &labelSet{names: maps.Clone(p.labels.names), hash: p.labels.hash}
			set.names[wire] = true
			p.labels = set
			s.names[all] = p
		}
	}
}

// moveFromView moves messages that have no label to a mailbox, by giving them its
// label: they are in \All all the same. Those count as moved that are not shown here any
// more, and of which the server told where they are.
func (m *mailbox) moveFromView(ctx context.Context, sess *session, set imapconn.UIDSet, to place) ([]mail.Moved, error) {
	pairs, err := sess.copyOrMove(ctx, "UID COPY", set, to)
	if err != nil || len(pairs) == 0 {
		return nil, err
	}
	label := *m.labels
	label.names = maps.Clone(label.names)
	label.names[to.wire] = true // it may be newer than the listing
	err = sess.conn.FetchList(ctx, set, labelItems, 0, false, func(it imapconn.Item) error {
		if set.Contains(it.UID) && it.GmailLabels != nil && !label.has(it.GmailLabels) {
			delete(pairs, it.UID)
		}
		return nil
	}, nil)
	if err != nil {
		return nil, m.unsure(err)
	}
	var moved []mail.Moved
	uids(set, func(uid uint32) {
		if there := pairs[uid]; there != 0 {
			moved = append(moved, mail.Moved{From: mail.Ref{UID: uid}, To: mail.Ref{UID: there}})
		}
	})
	return moved, nil
}

var errOneOfEqual = errors.New("the server keeps one of equal messages, and has this one already")

// findOld answers messages that a server with labels told the UIDs of and that did not
// arrive: it keeps one of equal messages, and this mailbox had it before. It gives those
// of which that is not so.
func (c *commit) findOld(ctx context.Context, all []sending) (missing []sending, err error) {
	if !c.box.store.HasLabels() || len(all) == 0 {
		return all, nil
	}
	byUID := make(map[uint32]sending)
	for _, s := range all {
		switch {
		case s.told == 0:
			missing = append(missing, s)
		case c.claimed[s.told] || byUID[s.told].upload != nil:
			s.answer.Err = c.batch.refusal(mail.KindRefused, errOneOfEqual)
		default:
			byUID[s.told] = s
		}
	}
	if len(byUID) == 0 {
		return missing, nil
	}
	sess, err := c.box.session(ctx, false)
	if err != nil {
		return nil, err
	}
	defer c.box.store.pool.give(sess)
	set := imapconn.NewUIDSet(slices.Collect(maps.Keys(byUID))...)
	err = sess.conn.FetchList(ctx, set, imapconn.Size|imapconn.HeaderMessageID, 0, false, func(it imapconn.Item) error {
		if s := byUID[it.UID]; s.upload != nil && it.Size == s.want.size && it.HasHeader && it.MessageID == s.want.id {
			c.claimed[it.UID] = true
			s.answer.Ref, s.answer.Old = mail.Ref{UID: it.UID}, true
			delete(byUID, it.UID)
		}
		return nil
	}, nil)
	return append(missing, slices.Collect(maps.Values(byUID))...), err
}
