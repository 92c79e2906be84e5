package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"postbag/internal/mail"
	"postbag/sync"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	kinds := map[mail.Kind]int{
		mail.KindOther: 1, mail.KindUsage: 2, mail.KindLogin: 5, mail.KindUnreachable: 7, mail.KindThrottled: 8, mail.KindQuota: 8, mail.KindTooLarge: 1,
		mail.KindGone: 1, mail.KindRefused: 1, mail.KindProtocol: 1, mail.KindIntegrity: 1, mail.KindDisk: 1, mail.KindLocked: 6, mail.KindGuard: 4,
	}
	for kind, want := range kinds {
		err := fmt.Errorf("while testing: %w", &mail.Error{Kind: kind, Err: errors.New("x")})
		if got := exitCode(err); got != want {
			t.Errorf("%s: got %d, want %d", kindName(kind), got, want)
		}
		if kindName(kind) == "" {
			t.Errorf("kind %d has no name", kind)
		}
	}
	if got := kindName(mail.KindTooLarge + 1); got != "" {
		t.Errorf("there is a kind after %s: give it a name, an exit code and a test", kindName(mail.KindTooLarge))
	}
	for _, test := range []struct {
		err  error
		want int
	}{{nil, 0}, {errors.New("x"), 1}, {exitError(3), 3}, {fmt.Errorf("x: %w", context.Canceled), 130},
		{&mail.Error{Kind: mail.KindUnreachable, Err: context.Canceled}, 130}} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%v: got %d, want %d", test.err, got, test.want)
		}
	}
}

func TestReportCode(t *testing.T) {
	t.Parallel()
	quota := &mail.Error{Kind: mail.KindQuota, Err: errors.New("x")}
	for _, test := range []struct {
		outcome sync.Outcome
		err     error
		want    int
	}{
		{sync.Done, nil, 0}, {sync.Partial, nil, 3}, {sync.Refused, &mail.Error{Kind: mail.KindGuard}, 4},
		{sync.Failed, quota, 8}, {sync.Failed, nil, 1}, {sync.Interrupted, errors.New("x"), 130}, {sync.Done, quota, 8},
	} {
		if got := reportCode(&sync.Report{Outcome: test.outcome}, test.err); got != test.want {
			t.Errorf("%s, %v: got %d, want %d", test.outcome, test.err, got, test.want)
		}
	}
	left := &sync.Report{Outcome: sync.Partial, Problems: []sync.Problem{{Kind: mail.KindRefused}, {Kind: mail.KindTooLarge}, {Kind: mail.KindQuota, Warning: true}}}
	if got := reportCode(left, nil); got != 3 {
		t.Errorf("messages that were refused: got %d, want 3", got)
	}
	left.Problems = append(left.Problems, sync.Problem{Kind: mail.KindQuota})
	if got := reportCode(left, nil); got != 8 {
		t.Errorf("a full destination: got %d, want 8", got)
	}
	if got := reportCode(nil, quota); got != 8 {
		t.Errorf("no report: got %d, want 8", got)
	}
}

func TestWorse(t *testing.T) {
	t.Parallel()
	for _, e := range exitCodes {
		if got := worse(e.code, exitDone); got != e.code {
			t.Errorf("worse(%d, 0): got %d", e.code, got)
		}
		if got := worse(exitInterrupted, e.code); got != exitInterrupted {
			t.Errorf("worse(130, %d): got %d", e.code, got)
		}
		if got := worse(e.code, e.code); got != e.code {
			t.Errorf("worse(%d, %d): got %d: the code is not in the order", e.code, e.code, got)
		}
	}
	if got := worse(exitPartial, exitLogin); got != exitLogin {
		t.Errorf("worse(3, 5): got %d, want 5", got)
	}
}
