package sync_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is a wrong planner: one place of the engine's source, and what it is to
// be instead.
type mutant struct{ file, old, wrong, name string }

var mutants = []mutant{
	{"policy.go", "if !p.May[s].Flags || changed[o].IsZero()", "if changed[o].IsZero()", "flags change where the policy does not allow it"},
	{"policy.go", "Remove: changed[o].Remove.Intersect(now[s]).Minus(changed[s].Add)", "", "flags are never taken away"},
	{"policy.go", ".Minus(changed[s].Add)}", "}", "a removal beats an addition"},
	{"policy.go", "changed[s] = mail.DiffFlags(base[s], now[s])", "changed[s] = mail.DiffFlags(base[0], now[s])", "both sides share one base"},
	{"policy.go", "after = now\n", "after = base\n", "what is recorded is not what is there"},
	{"policy.go", "do[s] && !p.May[s].Mailboxes", "false", "subscriptions change where the policy does not allow it"},
	{"policy.go", "want := base != state.Subscribed", "want := base == state.Unsubscribed", "without a base a mailbox is unsubscribed"},
	{"policy.go", "return [2]bool{}, base\n", "return [2]bool{}, state.Unknown\n", "what may not follow is forgotten"},
	{"policy.go", "if now[0] == now[1] {\n\t\twant = now[0]", "if now[0] && now[1] {\n\t\twant = true", "what both unsubscribed from comes back"},
	{"plan.go", "if in.Policy.May[left].Deletes {", "if true {", "a backup deletes"},
	{"plan.go", "if e := touched[s][ref]; e != nil {\n\t\t\t\te.gone[s] = true", "if e := touched[s][ref]; e != nil {\n\t\t\t\te.gone[1-s] = true", "what is gone here is gone there"},
	{"plan.go", "p.Removes[left] = append(p.Removes[left], &r)\n\t\t\treturn", "p.Removes[left] = append(p.Removes[left], &r)", "what is removed is recorded as kept, too"},
	{"plan.go", "paired := r.Alive(state.A) && r.Alive(state.B)", "paired := true", "a message of one side only is taken for one that was deleted"},
	{"plan.go", "case !alive[0] && !alive[1]:", "case !alive[0] || !alive[1]:", "a deletion is forgotten"},
	{"plan.go", "mark := mail.Flags{System: mail.Deleted}", "mark := mail.Flags{}", "a deletion is reported as winning over its own mark"},
	{"plan.go", "shared := a.Flags.Intersect(b.Flags)", "shared := a.Flags.Union(b.Flags)", "without a base flags are taken away"},
	{"plan.go", "do[s].Add = do[s].Add.Minus(mail.Flags{System: mail.Deleted})", "", `without a base \Deleted is spread`},
	{"plan.go", "base, known := baseOf(r.Mark)", "base, known := baseOf(\"\")", "a rename of the sync's own takes the base away"},
	{"names.go", "if renamed && row.Mark", "if row.Mark", "flags are taken away where a server numbered anew by itself"},
	{"plan.go", "case pair[1].row != nil:", "case false:", "a known row is left behind when its message is paired"},
	{"plan.go", "forget = pair[0].row.ID", "p.Forget = append(p.Forget, pair[0].row.ID)", "a row is forgotten before the pair that it went into is on record"},
	{"plan.go", "if a.candidate {", "if false {", "what is only there to be compared with is copied"},
	{"pair.go", "return in.Policy.May[to].New && ", "return ", "messages are added where the policy does not allow it"},
	{"plan.go", "if !a.taken {", "if true {", "what was paired is copied as well"},
	{"plan.go", "r.Ref[s], r.Flags[s], r.Gone[s] = a.msg.Ref, a.msg.Flags, 0\n\tp.Records", "r.Ref[s], r.Flags[s], r.Gone = a.msg.Ref, a.msg.Flags, [2]int64{}\n\tp.Records", "a message removed from the copy comes back"},
	{"pair.go", "k, ok := key(&a.msg)\n\t\t\tif a.taken || !ok {", "k, ok := key(&a.msg)\n\t\t\tif !ok {", "one message is paired twice"},
	{"pair.go", "return identityKey{digest: m.ID.Digest}, m.ID.Digest.Known()", "return identityKey{digest: m.ID.Digest}, true", "unknown digests are equal"},
	{"pair.go", "for i := range min(len(as), len(bs)) {\n\t\t\t\ttake(as[i], bs[i])", "for i := range min(len(as), len(bs)) - 1 {\n\t\t\t\ttake(as[i], bs[i])", "of several equal messages one is not paired"},
	{"pair.go", "case TrustID:", "case TrustID, TrustDigest:", "headers are believed where both sides have a base"},
	{"pair.go", "return k, ok && m.ID.MessageID != 0", "return k, ok", "date and size are an identity"},
	{"pair.go", "alike(bs) && len(as) <= len(bs)", "alike(bs)", "of several that may differ any is taken"},
	{"pair.go", "m.Flags.System&mail.Draft == 0", "true", "a draft is its earlier version"},
	{"pair.go", "have[ref] = true\n\t}\n\tadd", "_ = ref\n\t}\n\tadd", "a message that is gone is paired"},
	{"pair.go", "m.Flags = f\n", "_ = f\n", "flags on record go before those that are there"},
	{"moves.go", "func(r *state.Row, f Found) bool { return r.Mailbox != f.Mailbox }", "func(*state.Row, Found) bool { return true }", "a new name is a move into the same mailbox"},
	{"moves.go", "waiting[k] = slices.Delete(waiting[k], i, i+1)", "", "one message moves to two places"},
	{"moves.go", "ok && !gone[l.Row] {", "ok {", "one message moves by two rules"},
	{"moves.go", "[]moveRule{byDigest, byObject}", "[]moveRule{byDigest, byObject, byMessageID}", "an edited message is its earlier version under a new name"},
	{"moves.go", "(f.Msg.Ref.Key != \"\" || sameObject(r, f.Msg))", "true", "what happened to be read on a server tells a new ref"},
	{"moves.go", "if apart == (a.Mailbox == b.Mailbox)", "if apart && a.Mailbox == b.Mailbox", "moves to different mailboxes are one"},
	{"pair.go", "return trust > TrustDigest && dated && ok && k == key", "return dated && ok && k == key", "headers tell what was sent repaired, where nothing was numbered anew"},
	{"pair.go", "want := rowMessage(a.row, state.Side(1-s))", "want := rowMessage(a.row, state.Side(s))", "what was sent repaired is looked for as it was before"},
	{"plan.go", "r.Size, r.Ident, r.Sent = sent.Size, sent.Ident, sent.Sent", "r.Sent = sent.Sent", "a repaired copy takes the place of the message's identity"},
	{"moves.go", "waiting[k] = slices.DeleteFunc(rows, func(o *state.Row) bool { return o == r })", "_, waiting[k] = r, rows", "one repaired message moves to two places"},
	{"guard.go", "x.Delete >= guardMessages && x.Delete*100 >= x.Held*guardPercent", "x.Delete > guardMessages && x.Delete*100 >= x.Held*guardPercent", "the guard is one message late"},
	{"guard.go", "x.Delete >= x.Held && x.Held >= guardEmpty", "x.Delete > x.Held && x.Held >= guardEmpty", "a mailbox may be emptied"},
	{"guard.go", "deleted[s]*100 > held[s]*guardAccountPercent", "deleted[s]*100 > held[s]*guardPercent", "an account may lose too much"},
	{"tree.go", `r.Name[s] == "INBOX" ||`, "", "INBOX is taken for a renamed mailbox"},
	{"nest.go", "return k != nil && k.Info[s.Other()] == nil && k.moved(s) && n.livesOn(k, s)", "return k != nil && false", "half of a tree lives on"},
	{"nest.go", "n.winner[k] = state.A\n\t\t\treturn true", "return false", "two mailboxes want one name for ever"},
	{"nestplan.go", "k.Rename[o] = name\n\t\t\treturn true, false", "return false, false", "two mailboxes never change places"},
	{"nestplan.go", "j.Record.Renaming = n.intent(j, moving)", "_ = n.intent(j, moving)", "what mailboxes are to be called is not on record"},
	{"nestplan.go", "n.winner[j], n.yielded[j] = o, true", "n.yielded[j] = true", "the name of a new mailbox is never free"},
	{"nestnames.go", "j.Record.Name[s] = n.nameOn(j, state.Side(s))", "_ = n.nameOn(j, state.Side(s))", "what was deleted goes along where it is not"},
	{"rename.go", "if j == top || !carried(below, names, stays) {", "if stays[0] || !stays[0] {", "what went along keeps its name on record"},
}

// tables are the tests that every mutant has to pass, and must not: the quick ones.
const tables = "^(TestMerge|TestPlan|TestFind|TestGuardBounds|TestTree|TestConflictMatrix$|TestMailboxMatrix|TestNestedMatrix|TestFlagsWithoutABase|TestNumberedAnew|TestRenamedWhere)"

// Each mutant of the planner fails a test. The code itself knows nothing of them:
// the compiler is given another file in its place. The tests inside the package
// are tried first, without those that play whole runs, which take longer to build.
func TestMutantsDie(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package once for each mutant")
	}
	t.Parallel()
	runs := make(map[string]string) // files that are left out at first
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if source, err := os.ReadFile(f); err != nil {
			t.Fatal(err)
		} else if strings.HasPrefix(string(source), "package sync_test") {
			runs[absolute(t, f)] = ""
		}
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if !m.dies(t, runs) && !m.dies(t, nil) {
				t.Errorf("the mutant survives %s", tables)
			}
		})
	}
}

func absolute(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// dies builds the package with the mutant in place, less the files that are left
// out, and reports whether the tables find it.
func (m mutant) dies(t *testing.T, without map[string]string) bool {
	t.Helper()
	dir, path := t.TempDir(), absolute(t, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		t.Fatalf("%s has %d times %q, want it once: write the mutant anew", m.file, n, m.old)
	}
	replace := maps.Clone(without)
	if replace == nil {
		replace = make(map[string]string)
	}
	replace[path] = filepath.Join(dir, "mutant.go")
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"mutant.go": strings.Replace(string(source), m.old, m.wrong, 1), "overlay.json": string(overlay)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "mutant.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the mutant is not even a program: %v\n%s", err, out)
	}
	try := exec.Command(binary, "-test.failfast", "-test.timeout=60s", "-test.run", tables)
	try.Env = append(os.Environ(), "POSTBAG_TABLES=1")
	return try.Run() != nil
}
