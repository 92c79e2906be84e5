package imapstore

import (
	"context"
	"strings"

	"postbag/internal/imapconn"
)

// Quota is what an account may hold, in octets (RFC 9208). Limit is -1 when the
// server does not say.
type Quota struct{ Used, Limit int64 }

// Quota asks for the storage limit that INBOX is under; of several the one with the
// least room. A server that has none, or does not tell, is no error.
func (s *Store) Quota(ctx context.Context) (Quota, error) {
	best := Quota{Limit: -1}
	err := s.patiently(ctx, func() error { return s.askQuota(ctx, &best) })
	return best, failed("quota", "", err)
}

func (s *Store) askQuota(ctx context.Context, best *Quota) error {
	return s.run(ctx, "", false, func(sess *session) error {
		if !sess.offers("QUOTA") {
			return nil
		}
		_, err := sess.conn.Command(ctx, func(r imapconn.Response) error {
			if q, ok := parseQuota(r); ok && (best.Limit < 0 || q.Limit-q.Used < best.Limit-best.Used) {
				*best = q
			}
			return nil
		}, imapconn.Raw("GETQUOTAROOT INBOX"))
		if refused(err) && !wantsPause(err) {
			return nil
		}
		return err
	})
}

// parseQuota reads "QUOTA root (STORAGE used limit ...)", in units of 1024 octets.
func parseQuota(r imapconn.Response) (Quota, bool) {
	if r.Kind != "QUOTA" || len(r.Tokens) < 2 || r.Tokens[1].Kind != imapconn.List {
		return Quota{}, false
	}
	const most = 1 << 40 // KiB: more is no limit
	items := r.Tokens[1].List
	for i := 0; i+2 < len(items); i += 3 {
		used, ok := items[i+1].Uint64()
		limit, ok2 := items[i+2].Uint64()
		if strings.EqualFold(items[i].Text(), "STORAGE") && ok && ok2 && limit < most && used < most {
			return Quota{Used: int64(used) << 10, Limit: int64(limit) << 10}, true
		}
	}
	return Quota{}, false
}

// AppendLimit is the most octets that one message may have, -1 when the server does
// not say and no limit is known.
func (s *Store) AppendLimit(ctx context.Context) (limit int64, err error) {
	err = s.run(ctx, "", false, func(sess *session) error {
		limit = sess.limits().octets
		return nil
	})
	return limit, failed("capability", "", err)
}

// NameError tells why a mailbox of that name cannot be made on the server; nil when
// nothing is known against it. The account has been listed before.
func (s *Store) NameError(ctx context.Context, name string) error {
	_, err := s.resolve(ctx, "name", name)
	return err
}

// FoldsNames reports whether names of mailboxes that differ in case only are one on
// this server.
func (s *Store) FoldsNames() bool {
	return s.pool.quirks().FoldNames
}
