package bench

import (
	"bytes"
	"testing"

	"postbag/internal/imaptest"
)

// BenchmarkList100k looks for one message by its subject among 100,000 in one mailbox of
// a Maildir: when nothing changed since the last look, when ten messages came, and
// without what the last look read.
func BenchmarkList100k(b *testing.B) {
	s := newScene(b, imaptest.DovecotOptions{})
	n := s.fill(small(1, 100_000))
	tree := s.tree("list")
	s.changed(s.backup(tree).must(b), n, 0)
	list := func(more ...string) command {
		return command{Path: s.postbag, Env: []string{"XDG_STATE_HOME=" + s.dir, "XDG_CACHE_HOME=" + s.dir},
			Args: append([]string{"list", tree, "--subject", "note 77777"}, more...)}
	}
	found := func(r result) {
		if lines := bytes.Count(r.stdout, []byte("\n")); lines != 2 {
			b.Fatalf("got %d lines:\n%s", lines, tail(r.stdout))
		}
	}
	found(list().must(b))
	came := n
	contest(b, nil, contender{
		name: "again", run: func() command { return list() }, check: found,
	}, contender{
		name: "changed",
		run: func() command {
			s.fill(small(came+1, came+10))
			came += 10
			s.changed(s.backup(tree).must(b), 10, 0)
			return list()
		},
		check: found,
	}, contender{
		name: "fresh", run: func() command { return list("--fresh") }, check: found,
	})
	b.Logf("%d messages", came)
}
