package monitor

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The metrics, in the text format of Prometheus (version 0.0.4), all of them
// gauges: what is there is of the last run. Those of accounts have the labels
// command and account, those of whole runs only command.

// metric is one of them: its values of a Run, each with further labels.
type metric struct {
	name    string
	help    string
	account bool
	values  func(r Run) []value
}

// value is one value, with labels that begin with a comma.
type value struct {
	labels string
	number string
}

func one(number string) []value { return []value{{"", number}} }

func number[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

// seconds is a time as Prometheus has it; 0 when there is none, so that an age is
// alarming.
func seconds(t *time.Time) string {
	if t == nil {
		return "0"
	}
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

const (
	runSuccess     = "postbag_run_success_timestamp_seconds"
	accountSuccess = "postbag_account_success_timestamp_seconds"
)

func exitValue(r Run) []value    { return one(number(r.Exit)) }
func startValue(r Run) []value   { return one(seconds(&r.Start)) }
func endValue(r Run) []value     { return one(seconds(&r.End)) }
func successValue(r Run) []value { return one(seconds(r.LastSuccess)) }

var metrics = []metric{
	{"postbag_run_exit_code", "Exit code of the last run.", false, exitValue},
	{"postbag_run_start_timestamp_seconds", "When the last run began.", false, startValue},
	{"postbag_run_end_timestamp_seconds", "When the last run ended.", false, endValue},
	{runSuccess, "When the last run with exit code 0 ended, 0 when there was none.", false, successValue},
	{"postbag_account_exit_code", "Exit code of the account's part in its last run.", true, exitValue},
	{"postbag_account_start_timestamp_seconds", "When the account's part in its last run began.", true, startValue},
	{"postbag_account_end_timestamp_seconds", "When the account's part in its last run ended.", true, endValue},
	{accountSuccess, "When the account's last part with exit code 0 ended, 0 when there was none.", true, successValue},
	{"postbag_account_mailboxes", "Mailboxes in the last run, by what became of them.", true, func(r Run) []value {
		m := r.Mailboxes
		return []value{
			{`,state="changed"`, number(m.Changed)}, {`,state="failed"`, number(m.Failed)},
			{`,state="skipped"`, number(m.Skipped)}, {`,state="total"`, number(m.Total)},
		}
	}},
	{"postbag_account_messages", "Messages that the last run changed, by side (a is the server) and change.", true, func(r Run) (list []value) {
		for _, side := range r.sides() {
			for _, c := range []struct {
				name string
				n    int
			}{{"deleted", side.Deleted}, {"flags", side.Flags}, {"moved", side.Moved}, {"new", side.New}} {
				list = append(list, value{fmt.Sprintf(`,side="%s",change="%s"`, side.name, c.name), number(c.n)})
			}
		}
		return list
	}},
	{"postbag_account_new_bytes", "Size of the messages that the last run added, by side (a is the server).", true, func(r Run) (list []value) {
		for _, side := range r.sides() {
			list = append(list, value{fmt.Sprintf(`,side="%s"`, side.name), number(side.Bytes)})
		}
		return list
	}},
	{"postbag_account_kept_messages", "Messages that the server deleted and the backup keeps, seen by the last run.", true, func(r Run) []value { return one(number(r.Kept)) }},
	{"postbag_account_problems", "Messages and mailboxes that the last run left out.", true, func(r Run) []value { return one(number(r.Problems)) }},
	{"postbag_account_findings", "What the last verification found.", true, func(r Run) []value {
		if r.Findings == nil {
			return nil
		}
		return one(number(*r.Findings))
	}},
}

// side is one side's changes with its name.
type side struct {
	name string
	Changes
}

func (r Run) sides() []side { return []side{{"a", r.A}, {"b", r.B}} }

// series is one line of the file.
type series struct {
	name, command, account string // as they are in the file, escaped
	labels                 string
	number                 string
}

// line is how a line of the file reads. Only what has this form is kept.
var line = regexp.MustCompile(`^(postbag_[a-z_]+)\{command="([^"\\]*)"(?:,account="((?:[^"\\]|\\.)*)")?((?:,[a-z]+="[a-z]+")*)\} ([0-9.]+)$`)

// UpdateMetrics does for a file of metrics, of the form that the textfile collector
// of node_exporter reads, what UpdateStatus does for a status file.
func UpdateMetrics(path, command string, run Run, known func(account string) bool) error {
	return update(path, func(old []byte) ([]byte, error) {
		lines, err := parseMetrics(old)
		if err != nil {
			return nil, err
		}
		run.LastSuccess = run.succeeded(lastSuccess(lines, runSuccess, command, ""))
		fresh := map[string]Run{"": run}
		for name, r := range run.Accounts {
			name = escapeLabel(name)
			r.LastSuccess = r.succeeded(lastSuccess(lines, accountSuccess, command, name))
			fresh[name] = r
		}
		lines = slices.DeleteFunc(lines, func(s series) bool {
			_, again := fresh[s.account]
			return s.command == command && (again || !known(unescapeLabel(s.account)))
		})
		for _, m := range metrics {
			for name, r := range fresh {
				if (name != "") != m.account {
					continue
				}
				for _, v := range m.values(r) {
					lines = append(lines, series{m.name, command, name, v.labels, v.number})
				}
			}
		}
		return formatMetrics(lines), nil
	})
}

// parseMetrics reads what an earlier run wrote.
func parseMetrics(text []byte) (lines []series, err error) {
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSuffix(l, "\n")
		if strings.HasPrefix(l, "# HELP postbag_") || strings.HasPrefix(l, "# TYPE postbag_") {
			continue
		}
		m := line.FindStringSubmatch(l)
		if m == nil {
			return nil, errForeign
		}
		lines = append(lines, series{m[1], m[2], m[3], m[4], m[5]})
	}
	return lines, nil
}

// lastSuccess is the time that an earlier run left there; nil when there is none.
func lastSuccess(lines []series, name, command, account string) *time.Time {
	for _, s := range lines {
		if s.name == name && s.command == command && s.account == account {
			if f, err := strconv.ParseFloat(s.number, 64); err == nil && f > 0 {
				t := time.UnixMilli(int64(f*1000 + 0.5))
				return &t
			}
		}
	}
	return nil
}

// formatMetrics writes the lines of each metric together, in a fixed order. Those of
// metrics that this version does not have are left out.
func formatMetrics(lines []series) []byte {
	slices.SortFunc(lines, func(a, b series) int {
		return cmp.Or(cmp.Compare(a.command, b.command), cmp.Compare(a.account, b.account), cmp.Compare(a.labels, b.labels))
	})
	var out bytes.Buffer
	for _, m := range metrics {
		head := false
		for _, s := range lines {
			if s.name != m.name {
				continue
			}
			if !head {
				fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %s gauge\n", m.name, m.help, m.name)
				head = true
			}
			account := ""
			if m.account {
				account = `,account="` + s.account + `"`
			}
			fmt.Fprintf(&out, "%s{command=\"%s\"%s%s} %s\n", s.name, s.command, account, s.labels, s.number)
		}
	}
	return out.Bytes()
}

// escapeLabel writes the value of a label: a backslash, a quote and a line feed are
// escaped, by the format's rules.
func escapeLabel(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "\uFFFD"))
}

func unescapeLabel(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(s)
}
