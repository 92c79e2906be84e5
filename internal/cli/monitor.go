package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	gosync "sync"
	"time"

	"github.com/urfave/cli/v2"

	"postbag/internal/auth"
	"postbag/internal/config"
	"postbag/internal/monitor"
)

// pingVariable is the environment variable for the URL of a ping, which other users
// could see among the arguments.
const pingVariable = "POSTBAG_PING_URL"

// monitorFlags say whom to tell how a run went. A command is watched when it has
// them.
func monitorFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "status-file", Category: catMonitor, Usage: "write how the run went to `FILE`, as JSON"},
		&cli.StringFlag{Name: "metrics-file", Category: catMonitor, Usage: "write how the run went to `FILE`, for Prometheus: *.prom in the directory of node_exporter's textfile collector"},
		&cli.StringFlag{Name: "ping-url", Category: catMonitor, Usage: "tell the service behind `URL`, such as healthchecks.io, that the run began and how it ended (better: in the variable " + pingVariable + " or in the configuration)"},
	}
}

// watch tells other programs how a run went, and the accounts' parts in it: first
// the hooks, then the files, which have the exit code after the hooks, and then the
// service that waits for a ping. What goes wrong in it is told, and can make an exit
// code of 0 a 1, but no other. The zero watch tells nobody.
type watch struct {
	s       *session
	on      bool
	start   time.Time
	whole   config.Monitor
	pinging *pinging // of the whole run

	mu       gosync.Mutex
	accounts map[string]monitor.Run
	secret   []string        // environment variables that hold secrets
	names    map[string]bool // of the accounts of the configuration; nil when it was not read
}

// begin starts to watch a run, as the flags say. A dry run does nothing.
func (w *watch) begin(s *session, c *cli.Context, o *options) {
	watched := false
	for _, f := range c.Command.Flags {
		watched = watched || f.Names()[0] == "ping-url"
	}
	if !watched || o.dryRun {
		return
	}
	*w = watch{s: s, on: true, start: s.env.Now(), whole: o.monitor, accounts: map[string]monitor.Run{}, secret: []string{pingVariable}}
	w.hide(o.password)
	if o.to != nil {
		w.hide(o.to.password)
	}
	w.pinging = w.ping(w.whole.PingURL)
}

// configured adds what the configuration says, where the flags say nothing.
func (w *watch) configured(c *config.Config) {
	if !w.on {
		return
	}
	w.names = map[string]bool{}
	for name, a := range c.Accounts {
		w.names[name] = true
		w.hide(a.Password)
	}
	w.whole.StatusFile = cmp.Or(w.whole.StatusFile, c.Monitor.StatusFile)
	w.whole.MetricsFile = cmp.Or(w.whole.MetricsFile, c.Monitor.MetricsFile)
	w.whole.OnChange, w.whole.OnSuccess, w.whole.OnFailure = c.Monitor.OnChange, c.Monitor.OnSuccess, c.Monitor.OnFailure
	if w.whole.PingURL.IsZero() {
		w.whole.PingURL = c.Monitor.PingURL
		w.pinging = w.ping(w.whole.PingURL)
	}
}

// hide keeps the variable that holds a password from hooks.
func (w *watch) hide(src auth.Source) {
	if !w.on || src.Env == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secret = append(w.secret, src.Env)
}

// known says of an account whether there still is one of that name. What is not in
// the configuration is an address or a path, and nobody knows.
func (w *watch) known(account string) bool {
	return w.names == nil || w.names[account] || strings.ContainsAny(account, `@/\`)
}

// part is one account's part in a run, while it lasts.
type part struct {
	w       *watch
	account *config.Account
	start   time.Time
	pinging *pinging
}

// account watches one account's part in a run.
func (w *watch) account(a *config.Account, run func() int) int {
	if !w.on {
		return run()
	}
	p := w.open(a)
	code := run()
	return p.close(code, w.s.out.lastAccount())
}

func (w *watch) open(a *config.Account) *part {
	if !w.on {
		return &part{w: w}
	}
	w.hide(a.Password)
	return &part{w, a, w.s.env.Now(), w.ping(a.Monitor.PingURL)}
}

// close tells how the part went, and answers with the exit code that holds then.
func (p *part) close(code int, sum summary) int {
	w := p.w
	if !w.on {
		return code
	}
	name := accountName(p.account)
	sum.Event, sum.Account = "account", name
	tell := telling{w, p.account.Monitor, name, p.start, p.pinging}
	code, run := tell.all(code, sum)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accounts[name] = run
	return code
}

// accountName names an account in what other programs read.
func accountName(a *config.Account) string {
	switch {
	case a.Name != "":
		return a.Name
	case a.Server.Host != "":
		return a.Server.Identity()
	}
	return a.Maildir
}

// finish tells how the run went, and answers with the exit code that holds then.
func (w *watch) finish(code int) int {
	if !w.on {
		return code
	}
	code, _ = telling{w, w.whole, "", w.start, w.pinging}.all(code, w.s.out.closing(code))
	return code
}

// telling is what is to be told of a run or of a part in it.
type telling struct {
	w       *watch
	whom    config.Monitor
	account string // "" for the whole run
	start   time.Time
	pinging *pinging
}

func (t telling) all(code int, sum summary) (int, monitor.Run) {
	out := t.w.s.out
	ctx := context.WithoutCancel(t.w.s.ctx) // an interruption is to be told, too
	reason := sum.reason
	failed := func(err error) {
		out.trouble(t.account, err)
		if code == exitDone {
			code, reason = exitFailed, err.Error()
		}
	}
	for _, h := range t.hooks(code, sum) {
		if err := t.hook(ctx, h, code, sum); err != nil {
			failed(err)
		}
	}
	run := t.run(code, sum)
	run.Error = valid(reason)
	of := run
	if t.account == "" {
		of.Accounts = maps.Clone(t.w.accounts)
	} else {
		of.Accounts = map[string]monitor.Run{t.account: run}
	}
	for _, file := range []struct {
		path   string
		update func(path, command string, run monitor.Run, known func(string) bool) error
	}{{t.whom.StatusFile, monitor.UpdateStatus}, {t.whom.MetricsFile, monitor.UpdateMetrics}} {
		if file.path == "" {
			continue
		}
		if err := file.update(file.path, sum.Command, of, t.w.known); err != nil {
			failed(fmt.Errorf("%s: %w", file.path, err))
		}
	}
	t.pinging.end(ctx, code, sum.Command)
	return code, run
}

// run is how it went, for the files.
func (t telling) run(code int, sum summary) monitor.Run {
	m := sum.Mailboxes
	r := monitor.Run{Start: stamp(t.start), End: stamp(t.w.s.env.Now()), Outcome: outcomeOf(code), Exit: code, Counts: monitor.Counts{
		Mailboxes: monitor.Mailboxes{Total: m.Total, Changed: m.Changed, Skipped: m.Skipped, Failed: m.Failed}, A: monitor.Changes(sum.A), B: monitor.Changes(sum.B), Kept: sum.Kept, Problems: len(sum.Problems),
	}}
	if sum.Verified != nil {
		r.Findings = &sum.Verified.Findings
	}
	return r
}

// stamp is a time for other programs.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// pinging is a service that is told of a run; nil for none.
type pinging struct {
	out     *output
	pinger  *monitor.Pinger
	started chan error // gets one value when the start has been told, or not
}

// ping tells a service that a run begins. The run does not wait for it.
func (w *watch) ping(url auth.Secret) *pinging {
	if url.IsZero() {
		return nil
	}
	pinger, err := monitor.NewPinger(url.Reveal(), "postbag/"+w.s.env.Version)
	if err != nil {
		w.s.out.warn("%v", err)
		return nil
	}
	p := &pinging{w.s.out, pinger, make(chan error, 1)}
	go func() { p.started <- pinger.Start(context.WithoutCancel(w.s.ctx)) }()
	return p
}

// end tells how the run ended. A service that cannot be reached is told of, and
// that is all: it misses the ping, and says so.
func (p *pinging) end(ctx context.Context, code int, command string) {
	if p == nil {
		return
	}
	err := <-p.started
	if endErr := p.pinger.End(ctx, code == exitDone, fmt.Sprintf("postbag %s: %s, exit code %d\n", command, outcomeOf(code), code)); endErr != nil {
		err = endErr
	}
	if err != nil {
		p.out.warn("%v", err)
	}
}

// readMonitor reads the flags that say whom to tell. The URL of a ping may stand in
// the environment.
func (o *options) readMonitor(c *cli.Context, env *Env, text func(string, func(string) error), path func(string, *string)) error {
	path("status-file", &o.monitor.StatusFile)
	path("metrics-file", &o.monitor.MetricsFile)
	text("ping-url", func(s string) (err error) { o.monitor.PingURL, err = config.ParsePingURL(s); return })
	if url, ok := env.LookupEnv(pingVariable); ok && url != "" && !c.IsSet("ping-url") {
		var err error
		if o.monitor.PingURL, err = config.ParsePingURL(url); err != nil {
			return at(pingVariable, err)
		}
	}
	return nil
}

// environ is the environment of this process.
func (env *Env) environ() []string {
	if env.Environ == nil {
		return os.Environ()
	}
	return env.Environ()
}
