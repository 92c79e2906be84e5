package monitor

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// parse reads the text format of Prometheus as strictly as its description
// (https://prometheus.io/docs/instrumenting/exposition_formats/) allows: the lines
// of a metric together, HELP and TYPE once and before them, no series twice, a line
// feed at the end. It answers with the values by series.
func parse(t *testing.T, text string) map[string]float64 {
	t.Helper()
	comment := regexp.MustCompile(`^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$`)
	sample := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\[\\n"])*",?)*\})? (\S+)$`)
	label := regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\n"])*)"`)
	values := map[string]float64{}
	done, now := map[string]bool{}, ""
	seen := map[string]string{} // HELP and TYPE, by metric
	if text != "" && !strings.HasSuffix(text, "\n") {
		t.Errorf("the last line is not ended: %q", text)
	}
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		name := ""
		if m := comment.FindStringSubmatch(line); m != nil {
			name = m[2]
			if strings.Contains(seen[name], m[1]) {
				t.Errorf("line %d: %s of %s for the second time", n+1, m[1], name)
			}
			seen[name] += m[1]
			if m[1] == "TYPE" && m[3] != "gauge" {
				t.Errorf("line %d: got type %q, want gauge", n+1, m[3])
			}
			if _, begun := values[name]; begun {
				t.Errorf("line %d: %s after a value of %s", n+1, m[1], name)
			}
		} else if m := sample.FindStringSubmatch(line); m != nil {
			name = m[1]
			if seen[name] != "HELPTYPE" {
				t.Errorf("line %d: before it is %q, want HELP and TYPE", n+1, seen[name])
			}
			value, err := strconv.ParseFloat(m[3], 64)
			if err != nil {
				t.Errorf("line %d: %v", n+1, err)
			}
			var labels []string
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				if strings.HasPrefix(l[1], "__") || l[2] == "" {
					t.Errorf("line %d: odd label %s=%q", n+1, l[1], l[2])
				}
				labels = append(labels, l[0])
			}
			slices.Sort(labels)
			key := name + "{" + strings.Join(labels, ",") + "}"
			if _, twice := values[key]; twice {
				t.Errorf("line %d: %s for the second time", n+1, key)
			}
			values[key] = value
		} else {
			t.Errorf("line %d is neither a comment nor a value: %q", n+1, line)
		}
		if name != now {
			if done[name] {
				t.Errorf("line %d: %s begins for the second time", n+1, name)
			}
			done[name], now = true, name
		}
	}
	return values
}

// The file is what node_exporter's textfile collector reads, whatever accounts are
// called, and stays so when it is updated.
func TestMetricsFormat(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "postbag.prom")
	odd := "back\\slash \"quoted\"\nline \u00fc {x=\"y\"} 1"
	findings := 2
	full := ended(1, 3, nil)
	full.Counts = Counts{Mailboxes: Mailboxes{4, 3, 2, 1}, A: Changes{1, 2, 3, 4, 5}, B: Changes{6, 7, 8, 9, 1 << 40}, Kept: 10, Problems: 11, Findings: &findings}
	for range 3 {
		for _, command := range []string{"verify", "backup"} {
			if err := UpdateMetrics(path, command, ended(1, 3, map[string]Run{odd: full, "work": ended(1, 0, nil)}), everyone); err != nil {
				t.Fatal(err)
			}
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, string(text))
	account := `account="back\\slash \"quoted\"\nline ` + "\u00fc" + ` {x=\"y\"} 1"`
	for series, want := range map[string]float64{
		`postbag_run_exit_code{command="backup"}`:                                              3,
		`postbag_account_exit_code{account="work",command="verify"}`:                           0,
		`postbag_account_messages{` + account + `,change="moved",command="backup",side="b"}`:   8,
		`postbag_account_new_bytes{` + account + `,command="backup",side="b"}`:                 1 << 40,
		`postbag_account_mailboxes{` + account + `,command="verify",state="failed"}`:           1,
		`postbag_account_findings{` + account + `,command="verify"}`:                           2,
		`postbag_account_start_timestamp_seconds{account="work",command="verify"}`:             float64(noon.Unix() + 3540),
		`postbag_account_success_timestamp_seconds{` + account + `,command="verify"}`:          0,
		`postbag_account_success_timestamp_seconds{account="work",command="backup"}`:           float64(noon.Unix() + 3600),
		`postbag_account_messages{account="work",change="new",command="backup",side="a"}`:      0,
		`postbag_account_kept_messages{` + account + `,command="backup"}`:                      10,
		`postbag_account_problems{` + account + `,command="backup"}`:                           11,
		`postbag_account_mailboxes{account="work",command="verify",state="total"}`:             0,
		`postbag_run_success_timestamp_seconds{command="backup"}`:                              0,
		`postbag_account_messages{` + account + `,change="deleted",command="verify",side="a"}`: 4,
		`postbag_account_end_timestamp_seconds{` + account + `,command="backup"}`:              float64(noon.Unix() + 3600),
		`postbag_run_start_timestamp_seconds{command="verify"}`:                                float64(noon.Unix() + 3540),
		`postbag_account_exit_code{` + account + `,command="backup"}`:                          3,
		`postbag_account_mailboxes{` + account + `,command="verify",state="changed"}`:          3,
		`postbag_account_messages{` + account + `,change="flags",command="backup",side="a"}`:   2,
		`postbag_account_new_bytes{` + account + `,command="backup",side="a"}`:                 5,
		`postbag_run_end_timestamp_seconds{command="verify"}`:                                  float64(noon.Unix() + 3600),
		`postbag_account_mailboxes{` + account + `,command="verify",state="skipped"}`:          2,
	} {
		if value, there := got[series]; !there || value != want {
			t.Errorf("%s: got %v, %v, want %v", series, value, there, want)
		}
	}
	// The rules for names: https://prometheus.io/docs/practices/naming/, and those
	// that promtool checks.
	for _, m := range metrics {
		if !regexp.MustCompile(`^postbag_(run|account)(_[a-z]+)+$`).MatchString(m.name) || regexp.MustCompile(`_(total|count|sum|bucket|info|ms|milliseconds|minutes|kilobytes|gauge)$`).MatchString(m.name) {
			t.Errorf("%s is no good name of a gauge", m.name)
		}
		if !strings.HasSuffix(m.help, ".") || strings.ContainsAny(m.help, "\n\\") {
			t.Errorf("%s: odd help %q", m.name, m.help)
		}
		if !strings.Contains(string(text), "# TYPE "+m.name+" gauge\n") {
			t.Errorf("%s is not in the file", m.name)
		}
	}
	foreignReader(t, text, len(got), len([]rune(odd)))
}

// foreignReader reads the file with the parser of Prometheus' own library for
// Python, where it is installed.
func foreignReader(t *testing.T, text []byte, want, longest int) {
	t.Helper()
	python, err := "", error(nil)
	for _, python = range []string{"/usr/bin/python3", "python3"} { // the distribution's comes first: it has the distribution's libraries
		if err = exec.Command(python, "-c", "import prometheus_client").Run(); err == nil {
			break
		}
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("prometheus_client is not installed")
		}
		t.Log("prometheus_client is not installed: only our own parser has read it")
		return
	}
	cmd := exec.Command(python, "-c", `
import sys
from prometheus_client.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
assert all(f.type == "gauge" and f.documentation for f in families), families
print(sum(len(f.samples) for f in families), max(len(s.labels["account"]) for f in families for s in f.samples if "account" in s.labels))
`)
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	if wanted := fmt.Sprintf("%d %d\n", want, longest); err != nil || string(out) != wanted {
		t.Errorf("prometheus_client: %v, %q, want %q", err, out, wanted)
	}
}

// docs/scripting.md lists the metrics with their labels.
func TestDocumentedMetrics(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "scripting.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	findings := 0
	for _, m := range metrics {
		labels := "`command`"
		if m.account {
			labels += ", `account`"
		}
		for _, name := range regexp.MustCompile(`[a-z]+=`).FindAllString(m.values(Run{Counts: Counts{Findings: &findings}})[0].labels, -1) {
			labels += ", `" + strings.TrimSuffix(name, "=") + "`"
		}
		want[m.name] = labels
	}
	got := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`postbag_[^|]*) \\| ([^|]*) \\|").FindAllStringSubmatch(string(text), -1) {
		for _, name := range regexp.MustCompile(`postbag_[a-z_]+`).FindAllString(row[1], -1) {
			got[name] = row[2]
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
