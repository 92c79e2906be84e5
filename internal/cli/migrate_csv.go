package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	gosync "sync"
	"time"

	"postbag/internal/auth"
	"postbag/internal/config"
	"postbag/internal/mapping"
	"postbag/sync"
)

// csvColumns are the columns of a list of migrations; from and to are required.
// There is none for a password: other people read such lists.
var csvColumns = []string{"from", "to", "from_password_env", "from_password_file", "from_password_command",
	"to_password_env", "to_password_file", "to_password_command", "from_auth", "to_auth", "mailbox", "map"}

// errCSV is an error in a list of migrations.
func errCSV(path string, line int, format string, args ...any) error {
	where := path
	if line > 0 {
		where = fmt.Sprintf("%s line %d", path, line)
	}
	return usageError(where, "the columns are "+strings.Join(csvColumns, ", ")+`; a line that begins with "#" is passed over`, format, args...)
}

// migration is one line of a list.
type migration struct {
	line     int
	o        options // as called, with what the line says
	from, to *config.Account
}

// label names a migration in reports.
func (m *migration) label() string { return m.from.Server.Identity() }

// readList reads a list of migrations. Every line is checked before the first is
// carried out.
func (s *session) readList(o *options, path string) ([]*migration, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errCSV(path, 0, "%w", bare(err))
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment, r.TrimLeadingSpace, r.FieldsPerRecord = '#', true, -1
	header, err := r.Read()
	if err != nil {
		return nil, errCSV(path, 0, "has no header")
	}
	for i := range header {
		header[i] = strings.ToLower(strings.TrimSpace(header[i]))
		if !slices.Contains(csvColumns, header[i]) {
			return nil, errCSV(path, 1, "unknown column %q", header[i])
		}
	}
	var list []*migration
	seen := map[string]int{}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		line, _ := r.FieldPos(0)
		if err != nil || len(record) > len(header) {
			return nil, errCSV(path, line, "cannot be read: %d fields, and the header has %d", len(record), len(header))
		}
		row := map[string]string{}
		for i, value := range record {
			row[header[i]] = strings.TrimSpace(value)
		}
		m, err := s.readMigration(o, row)
		if err != nil {
			return nil, at(fmt.Sprintf("%s line %d", path, line), err)
		}
		m.line = line
		key := m.to.Server.Identity() + " " + m.o.under
		if before, twice := seen[key]; twice {
			return nil, errCSV(path, line, "goes to %s, as line %d does", m.to.Server.Identity(), before)
		}
		seen[key] = line
		list = append(list, m)
	}
	if len(list) == 0 {
		return nil, errCSV(path, 0, "lists nothing to migrate")
	}
	return list, nil
}

// readMigration reads one line.
func (s *session) readMigration(o *options, row map[string]string) (*migration, error) {
	m := &migration{o: *o}
	to := options{}
	if o.to != nil {
		to = *o.to
	}
	var err error
	for side, own := range map[string]*options{"from": &m.o, "to": &to} {
		var source auth.Source
		given := 0
		for _, kind := range []string{"env", "file", "command"} {
			value := row[side+"_password_"+kind]
			if value == "" {
				continue
			}
			given++
			switch kind {
			case "env":
				source.Env = value
			case "file":
				source.File, err = config.ExpandPath(value, s.env.Dir, s.env.config())
			case "command":
				source.Command, err = auth.SplitCommand(value)
			}
			if err != nil {
				return nil, err
			}
		}
		if given > 1 {
			return nil, usageError(side, "", "has more than one password")
		}
		if given == 1 {
			own.password = source
		}
		if value := row[side+"_auth"]; value != "" {
			if own.mechanism, err = auth.ParseMechanism(value); err != nil {
				return nil, err
			}
		}
	}
	m.o.to = &to
	if text := row["mailbox"]; text != "" {
		m.o.mailboxes = strings.Fields(text)
	}
	if text := row["map"]; text != "" {
		m.o.rules = slices.Clone(o.rules)
		for _, one := range strings.Split(text, ";") {
			rule, err := mapping.ParseRule(one)
			if err != nil {
				return nil, err
			}
			m.o.rules = append(m.o.rules, rule)
		}
	}
	m.from, m.to, err = s.twoServers(&m.o, []string{row["from"], row["to"]})
	return m, err
}

// shard is the part of a list that one of several machines does: every of-th line,
// from the one numbered index on, counted from 0.
type shard struct{ index, of int }

// parseShard reads "I/N", counted from 1, or "/N": the index is then that of a
// Kubernetes Indexed Job, counted from 0.
func parseShard(text string, env *Env) (shard, error) {
	bad := usageError("--shard", "write 2/5 for the second of five, or /5 in a Kubernetes Indexed Job", "%q is no part of a list", text)
	i, n, ok := strings.Cut(text, "/")
	of, err := strconv.Atoi(n)
	if !ok || err != nil || of < 1 {
		return shard{}, bad
	}
	if i == "" {
		value, ok := env.LookupEnv("JOB_COMPLETION_INDEX")
		if !ok {
			return shard{}, usageError("--shard", "write 2/5 for the second of five", "JOB_COMPLETION_INDEX is not set")
		}
		index, err := strconv.Atoi(value)
		if err != nil || index < 0 || index >= of {
			return shard{}, usageError("--shard", "", "JOB_COMPLETION_INDEX is %q, and there are %d parts", value, of)
		}
		return shard{index, of}, nil
	}
	index, err := strconv.Atoi(i)
	if err != nil || index < 1 || index > of {
		return shard{}, bad
	}
	return shard{index - 1, of}, nil
}

// ended is how one migration ended.
type ended struct {
	*migration
	code    int
	report  *sync.Report
	elapsed time.Duration
	reason  string
}

// migrateList carries out a list, several at a time. What fails for one does not
// stop the others.
func (s *session) migrateList(o *options) error {
	if !o.password.IsZero() || !o.to.password.IsZero() {
		return usageError("password flags", "name them in the list, or in the configuration", "do not go with --csv")
	}
	if o.state != "" {
		return usageError("--state", "", "does not go with --csv")
	}
	list, err := s.readList(o, o.csv)
	if err != nil {
		return err
	}
	var mine []*migration
	for i, m := range list {
		s.watch.hide(m.from.Password) // also from the hooks of other lines
		s.watch.hide(m.to.Password)
		if o.shard.of == 0 || i%o.shard.of == o.shard.index {
			mine = append(mine, m)
		}
	}
	results := make([]ended, len(mine))
	queue := make(chan int)
	var workers gosync.WaitGroup
	var mu gosync.Mutex // one at a time tells what came of it
	for range max(1, min(o.jobs, len(mine))) {
		workers.Go(func() {
			for i := range queue {
				s.migrateOne(mine[i], &results[i], &mu)
			}
		})
	}
	for i := range mine {
		if s.ctx.Err() != nil {
			break
		}
		queue <- i
	}
	close(queue)
	workers.Wait()
	code := exitDone
	for _, r := range results {
		if r.migration != nil {
			code = worse(code, r.code)
		}
	}
	s.table(results)
	if o.reportFile != "" {
		if err := writeReport(o.reportFile, results); err != nil {
			return err
		}
	}
	if s.ctx.Err() != nil {
		code = exitInterrupted
	}
	if code != exitDone {
		return exitError(code)
	}
	return nil
}

// migrateOne carries out one line.
func (s *session) migrateOne(m *migration, r *ended, mu *gosync.Mutex) {
	begun := s.env.Now()
	part := s.watch.open(m.from)
	var open closers
	report, err := s.runMigrate(&m.o, m.from, m.to, quietProgress{s.out, m.label()}, &open)
	mu.Lock()
	code := s.reported(m.label(), report, err, &open)
	sum := s.out.lastAccount()
	mu.Unlock()
	code = part.close(code, sum)
	*r = ended{migration: m, code: code, report: report, elapsed: s.env.Now().Sub(begun)}
	switch {
	case err != nil:
		r.reason = err.Error()
	case code != exitDone && report != nil:
		for _, p := range report.Problems {
			if !p.Warning {
				r.reason = fmt.Sprintf("%d left out, such as %s", len(report.Problems), problemText(p))
				break
			}
		}
	}
}

// quietProgress tells the verbose what a run does, and draws no bar.
type quietProgress struct {
	out   *output
	label string
}

func (quietProgress) Expect(int, int64) {}
func (quietProgress) Done(int, int64)   {}

// Note writes one line.
func (p quietProgress) Note(format string, args ...any) {
	p.out.note("%s: %s", p.label, fmt.Sprintf(format, args...))
}

// table tells how each migration ended, one line each.
func (s *session) table(results []ended) {
	done := 0
	for _, r := range results {
		if r.migration == nil {
			continue
		}
		if r.code == exitDone {
			done++
			continue
		}
		s.out.warn("%s -> %s: exit %d: %s", r.from.Server.Identity(), r.to.Server.Identity(), r.code, r.reason)
	}
	if !s.out.quiet {
		s.out.result("%d of %s done", done, count(len(results), "account"))
	}
}

// writeReport writes the same as CSV, whole or not at all.
func writeReport(path string, results []ended) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".report-")
	if err != nil {
		return at(path, bare(err))
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = at(path, bare(err))
		}
	}()
	w := csv.NewWriter(f)
	_ = w.Write([]string{"from", "to", "exit", "outcome", "new", "bytes", "problems", "seconds", "reason"})
	for _, r := range results {
		if r.migration == nil {
			continue
		}
		var n, bytes, problems int64
		if r.report != nil {
			n, bytes, problems = int64(r.report.Side[1].New), r.report.Side[1].Bytes, int64(len(r.report.Problems))
		}
		_ = w.Write([]string{r.from.Server.Identity(), r.to.Server.Identity(), strconv.Itoa(r.code), outcomeOf(r.code),
			strconv.FormatInt(n, 10), strconv.FormatInt(bytes, 10), strconv.FormatInt(problems, 10),
			strconv.FormatFloat(r.elapsed.Seconds(), 'f', 1, 64), escape(r.reason)})
	}
	w.Flush()
	if err = errors.Join(w.Error(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
