package maildir

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"

	"postbag/internal/mail"
)

// leftoverAge is how old a file in tmp/ must be before anybody may remove it
// (https://cr.yp.to/proto/maildir.html). It is counted from the time of the last
// change of the inode, since delivery sets the time of modification back.
const leftoverAge = 36 * time.Hour

// Recover finds out what became of messages whose delivery was cut off. One in
// cur/ or new/ has arrived. One in tmp/ is delivered now, when its size and
// digest are those that were sent, and removed when not. Files of ours in tmp/
// that are not pending are removed once they are old.
func (m *mailbox) Recover(ctx context.Context, pending []mail.Pending, _ mail.Known) ([]mail.Landed, error) {
	landed, err := m.recover(ctx, pending)
	if err != nil {
		return nil, m.fail("recover", err)
	}
	return landed, nil
}

func (m *mailbox) recover(ctx context.Context, pending []mail.Pending) ([]mail.Landed, error) {
	refs := make([]mail.Ref, len(pending))
	keys := map[string]bool{}
	keywords := map[string]bool{}
	for i, p := range pending {
		refs[i] = p.Ref
		keys[p.Ref.Key] = true
		for _, w := range p.Message.Flags.Keywords.Words() {
			keywords[w] = true
		}
	}
	if err := m.assign(ctx, slices.Sorted(maps.Keys(keywords))); err != nil {
		return nil, err
	}
	words, err := m.words()
	if err != nil {
		return nil, err
	}
	f := m.finder()
	if err := f.prepare(ctx, refs); err != nil {
		return nil, err
	}
	landed := make([]mail.Landed, len(pending))
	touched := [2]bool{}
	for i, p := range pending {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if p.Ref.Key == "" {
			continue
		}
		if l, ok := f.where[p.Ref.Key]; ok {
			// The rename may not be durable yet.
			touched[l.where] = true
			landed[i].Ref = p.Ref
			m.dropTmp(p.Ref.Key)
			continue
		}
		l, err := m.finishDelivery(p, words)
		if err != nil {
			return nil, err
		}
		if l != nil {
			touched[l.where] = true
			landed[i].Ref = p.Ref
		}
	}
	if err := m.syncSubs(touched); err != nil {
		return nil, err
	}
	return landed, m.sweep(keys)
}

// finishDelivery delivers a message from tmp/, if it is all there. Nothing that
// was written counts before it was read back and made durable.
func (m *mailbox) finishDelivery(p mail.Pending, words *keywordTable) (*location, error) {
	key := p.Ref.Key
	if checkName(key) != nil || !isOwnKey(key) {
		return nil, nil
	}
	good, err := m.intact(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && good {
		err = setDate(m.tmp, key, p.Message.Date)
	}
	if err == nil && good {
		err = syncFile(m.tmp, key)
	}
	if err != nil && (isAny(err, errsBusy) || isAny(err, errsFull)) {
		return nil, err
	}
	if err != nil || !good {
		m.dropTmp(key)
		return nil, nil
	}
	to := m.target(key, p.Message.Flags, words)
	if err := moveFile(m.tmp, key, m.sub[to.where], to.name); err != nil {
		return nil, err
	}
	m.box.renamed(nil, &to)
	return &to, nil
}

// intact reports whether a file in tmp/ holds the message that was sent. Without
// a digest nobody can tell.
func (m *mailbox) intact(p mail.Pending) (bool, error) {
	c, err := openContent(m.tmp, p.Ref.Key, p.Ref.Key)
	if err != nil {
		return false, err
	}
	defer c.close()
	if !p.Message.ID.Digest.Known() || p.Message.Size >= 0 && p.Message.Size != c.wire {
		return false, nil
	}
	digest, err := c.digest()
	return err == nil && digest == p.Message.ID.Digest, err
}

func (m *mailbox) dropTmp(key string) {
	if isOwnKey(key) {
		m.tmp.Remove(key)
	}
}

// sweep removes files of ours from tmp/ that nobody waits for.
func (m *mailbox) sweep(pending map[string]bool) error {
	var old []string
	err := m.tmp.Names(func(name []byte, _ fs.FileMode) error {
		if n := string(name); isOwnKey(n) && !pending[n] {
			old = append(old, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range old {
		st, err := m.tmp.Lstat(name)
		if err != nil || !st.Mode.IsRegular() || st.Ctime.IsZero() || m.store.opts.Now().Sub(st.Ctime) < leftoverAge {
			continue
		}
		m.tmp.Remove(name)
	}
	return nil
}
