package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postbag/internal/monitor"
	"postbag/sync"
)

// lastWords is how long a hook may take after an interruption.
const lastWords = 10 * time.Second

// hookVariables are those that hooks get, beside what is in this process's
// environment and no secret. docs/scripting.md has the list.
func (t telling) hookVariables(name string, code int, sum summary) []string {
	list := []struct{ name, value string }{
		{"HOOK", name}, {"COMMAND", sum.Command}, {"ACCOUNT", t.account}, {"OUTCOME", outcomeOf(code)}, {"EXIT", fmt.Sprint(code)},
		{"START", stamp(t.start).Format(time.RFC3339)}, {"MAILBOXES_TOTAL", fmt.Sprint(sum.Mailboxes.Total)},
		{"MAILBOXES_CHANGED", fmt.Sprint(sum.Mailboxes.Changed)}, {"MAILBOXES_SKIPPED", fmt.Sprint(sum.Mailboxes.Skipped)},
		{"MAILBOXES_FAILED", fmt.Sprint(sum.Mailboxes.Failed)}, {"KEPT", fmt.Sprint(sum.Kept)}, {"PROBLEMS", fmt.Sprint(len(sum.Problems))},
	}
	for _, side := range []struct {
		name string
		of   sync.Counts
	}{{"A", sum.A}, {"B", sum.B}} {
		for _, n := range []struct {
			name string
			n    int64
		}{{"NEW", int64(side.of.New)}, {"FLAGS", int64(side.of.Flags)}, {"MOVED", int64(side.of.Moved)}, {"DELETED", int64(side.of.Deleted)}, {"BYTES", side.of.Bytes}} {
			list = append(list, struct{ name, value string }{side.name + "_" + n.name, fmt.Sprint(n.n)})
		}
	}
	if sum.Verified != nil {
		list = append(list, struct{ name, value string }{"FINDINGS", fmt.Sprint(sum.Verified.Findings)})
	}
	var out []string
	for _, v := range list {
		out = append(out, "POSTBAG_"+v.name+"="+strings.ReplaceAll(v.value, "\x00", ""))
	}
	return out
}

// namedHook is a hook under the name of its key.
type namedHook struct {
	name string
	argv []string
}

// hooks are those to run for what came of a run.
func (t telling) hooks(code int, sum summary) (list []namedHook) {
	add := func(name string, argv []string) {
		if argv != nil {
			list = append(list, namedHook{name, argv})
		}
	}
	if sum.A != (sync.Counts{}) || sum.B != (sync.Counts{}) || sum.Verified == nil && sum.Mailboxes.Changed > 0 {
		add("on_change", t.whom.OnChange)
	}
	if code == exitDone {
		add("on_success", t.whom.OnSuccess)
	} else {
		add("on_failure", t.whom.OnFailure)
	}
	return list
}

// hook runs one hook. What it says is shown when it fails, or to the verbose.
func (t telling) hook(ctx context.Context, h namedHook, code int, sum summary) error {
	out := t.w.s.out
	sum.Exit, sum.Outcome, sum.ElapsedMS = code, outcomeOf(code), out.elapsed().Milliseconds()
	stdin, err := out.encode(sum)
	if err != nil {
		return err
	}
	hook := monitor.Hook{Argv: h.argv, Env: slices.Concat(t.w.openEnvironment(), t.hookVariables(h.name, code, sum)), Stdin: stdin}
	if t.w.s.ctx.Err() != nil {
		hook.Limit = lastWords
	}
	said, err := hook.Run(ctx)
	tell := out.note
	if err != nil {
		tell, err = out.warn, fmt.Errorf("%s: %s: %w", h.name, h.argv[0], err)
	}
	for line := range strings.Lines(said) {
		tell("%s: %s", h.name, strings.TrimSuffix(line, "\n"))
	}
	return err
}

// openEnvironment is the environment of this process, without secrets and without
// what another run left there.
func (w *watch) openEnvironment() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.s.env.environ()), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.HasPrefix(name, "POSTBAG_") || slices.ContainsFunc(w.secret, func(s string) bool { return strings.EqualFold(s, name) })
	})
}
