package cli

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"postbag/internal/auth"
	"postbag/internal/config"
	"postbag/internal/export"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/internal/mapping"
	"postbag/internal/match"
	"postbag/internal/repair"
)

// The categories of flags, as the help shows them.
const (
	catWhat    = "Selection"
	catSafety  = "Safety"
	catServer  = "Connection"
	catLogin   = "Login"
	catMaildir = "Maildir"
	catMonitor = "Monitoring"
	catOutput  = "Output"
)

// Flags are defined once, here, and picked by the commands. All texts are read
// in readOptions.

// flags joins lists of flags.
func flags(lists ...[]cli.Flag) []cli.Flag { return slices.Concat(lists...) }

func jsonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Category: catOutput, Usage: "results as one JSON object a line, the last one a summary"},
	}
}

func outputFlags() []cli.Flag {
	return append(jsonFlags(),
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Category: catOutput, Usage: "say on stderr what goes on"})
}

func quietFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Category: catOutput, Usage: "nothing but what is wrong, and JSON where it is asked for"},
	}
}

func configFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Category: catServer, Usage: "the configuration is in `FILE`"},
	}
}

func selectFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "mailbox", Category: catWhat,
			Usage: "only mailboxes that match `PATTERN`; may be repeated. * stands for any text across levels, ? for one character, " +
				`! before it leaves mailboxes out, \Sent and the like name a role. Instead of the configuration's mailboxes`},
	}
}

func filterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "since", Category: catWhat, Usage: "only messages received at or after `DATE`: 2024-01-31, or 90d for 90 days ago"},
		&cli.StringFlag{Name: "before", Category: catWhat, Usage: "only messages received before `DATE`"},
		&cli.StringFlag{Name: "larger", Category: catWhat, Usage: "only messages larger than `SIZE`, such as 500K or 10M"},
		&cli.StringFlag{Name: "smaller", Category: catWhat, Usage: "only messages smaller than `SIZE`"},
	}
}

// policyFlags are those of a sync.
func policyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "policy", Category: catWhat, Usage: "what a sync may do, as `PRESET`: sync (all, both ways; the default), backup (server to Maildir, keeps what the server deleted), mirror (the Maildir follows in everything), push (Maildir to server, keeps what the Maildir deleted)"},
		&cli.StringFlag{Name: "to-server", Category: catWhat, Usage: "what may be done to the server, as `WORDS` with commas between them: new, flags, deletes, moves, mailboxes, delete-mailboxes, all (but the last) or none. Instead of the preset's"},
		&cli.StringFlag{Name: "to-maildir", Category: catWhat, Usage: "what may be done to the Maildir, in the same `WORDS`"},
		deleteMailboxesFlag(),
		subscriptionsFlag(),
		&cli.StringFlag{Name: "trash", Category: catWhat, Usage: "what is removed on the server goes into its `MAILBOX`, a name or a role such as \\Trash, and is not expunged"},
	}
}

func deleteMailboxesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "delete-mailboxes", Category: catWhat, Usage: "delete a mailbox that the other side deleted, where messages are deleted, too; never one with mail that was not on both sides"}
}

func subscriptionsFlag() cli.Flag {
	return &cli.BoolFlag{Name: "subscriptions", Category: catWhat, Usage: "subscribe to a mailbox, or unsubscribe from it, where the other side did; in a Maildir as Dovecot keeps it"}
}

// removedFlags choose in the trash of a Maildir.
func removedFlags() []cli.Flag {
	return append(selectFlags(),
		&cli.StringFlag{Name: "removed-since", Category: catWhat, Usage: "only what was removed at or after `DATE`: 2024-01-31, or 2d for the day before yesterday"})
}

// guardFlags are those of a command that may delete.
func guardFlags() []cli.Flag {
	return []cli.Flag{
		dryRunFlag(),
		&cli.StringFlag{Name: "max-delete", Category: catSafety, Usage: "refuse to delete more than `N` messages (default: refuse what looks like an accident)"},
		&cli.BoolFlag{Name: "force-deletes", Category: catSafety, Usage: "delete however much it is, this time"},
	}
}

func refusedFlag() cli.Flag {
	return &cli.StringFlag{Name: "refused", Category: catSafety, Usage: "a message that is not taken where it is copied to: `WORD` skip leaves it out, names it and tries it again in later runs (default); fail ends the run there"}
}

func fixFlag() cli.Flag {
	return &cli.StringFlag{Name: "fix", Category: catSafety, Usage: "send a message that is not taken once more, repaired, with the repairs `NAMES`, with commas between them: crlf, nul, long-lines, from, date, or all. What is read stays as it is, and each is named in the report"}
}

func createFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "create", Category: catSafety, Usage: "make the Maildir anew although there was one before"},
	}
}

func dryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Category: catSafety, Usage: "tell what would be done, and do nothing"}
}

func serverFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "connections", Category: catServer, Usage: "use at most `N` connections (default 4, fewer where the provider wants it)"},
		&cli.StringFlag{Name: "limit-rate", Category: catServer, Usage: "move at most `RATE` octets a second, such as 500K, over all connections"},
		&cli.StringFlag{Name: "limit-messages", Category: catServer, Usage: "send at most `N` messages a second to a server, such as 4 or 0.33, over all connections"},
		&cli.StringFlag{Name: "limit-day-up", Category: catServer, Usage: "send at most `SIZE` to the server in 24 hours, over all runs, such as 500M; off for no bound (default off, but what is known of the provider: Gmail 500M)"},
		&cli.StringFlag{Name: "limit-day-down", Category: catServer, Usage: "read at most `SIZE` of messages from the server in 24 hours, over all runs (default off, but what is known of the provider: Gmail 2500M)"},
		&cli.StringFlag{Name: "tls-ca", Category: catServer, Usage: "trust the certificates in `FILE` (PEM) and no others"},
		&cli.StringSliceFlag{Name: "tls-pin", Category: catServer, Usage: "accept only a server whose public key has this `SHA256`, whoever signed it; may be repeated"},
		&cli.BoolFlag{Name: "allow-plaintext", Category: catServer, Usage: "do without TLS (imap:// only): password and mail can be read on the way"},
		&cli.StringFlag{Name: "tunnel", Category: catServer, Usage: "run `COMMAND`, without a shell, and speak IMAP with it instead of connecting"},
		&cli.StringFlag{Name: "trace", Category: catServer, Usage: "add what is said on the wire to `FILE`, without passwords and messages"},
		&cli.StringFlag{Name: "password-command", Category: catLogin, Usage: "the password is what `COMMAND` prints, on one line; it runs without a shell"},
		&cli.StringFlag{Name: "password-file", Category: catLogin, Usage: "the password is in `FILE`, which nobody else may read"},
		&cli.StringFlag{Name: "password-env", Category: catLogin, Usage: "the password is in the environment variable `NAME`"},
		&cli.StringFlag{Name: "auth", Category: catLogin, Usage: "log in with `MECHANISM`: plain, login, or with an OAuth token as the password xoauth2, oauthbearer (default auto)"},
	}
}

// withoutRate leaves out what matters only where much is moved.
func withoutRate(list []cli.Flag) []cli.Flag {
	return withoutPace(slices.DeleteFunc(list, func(f cli.Flag) bool { return f.Names()[0] == "limit-rate" || f.Names()[0] == "limit-day-down" }))
}

// withoutPace leaves out what matters only where messages are sent to a server.
func withoutPace(list []cli.Flag) []cli.Flag {
	return slices.DeleteFunc(list, func(f cli.Flag) bool { return f.Names()[0] == "limit-messages" || f.Names()[0] == "limit-day-up" })
}

func maildirFlags() []cli.Flag {
	return append(layoutFlags(), stateFlags()...)
}

func layoutFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "layout", Category: catMaildir, Usage: "lay mailboxes out as `LAYOUT`: verbatim, maildir++ or flat (default: what is there, else verbatim)"},
	}
}

func stateFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "state", Category: catMaildir, Usage: "keep what is known of earlier runs in `FILE` (default: in the Maildir)"},
	}
}

// options are the flags of one call, parsed. Zero fields were not given.
type options struct {
	config       string
	dryRun       bool
	all          bool
	removedSince config.Date
	olderThan    config.Age
	mailboxes    []string
	filter       dates
	connections  int
	limitRate    int64
	pace         float64
	dayUp        int64 // octets; negative for off
	dayDown      int64
	tlsCA        string
	tlsPins      [][]byte
	plaintext    bool
	tunnel       []string
	trace        string
	password     auth.Source
	mechanism    string
	layout       string
	state        string
	mirror       bool
	policy       string
	toServer     *config.Operations
	toMaildir    *config.Operations
	delBoxes     bool
	subscribe    bool
	trash        string
	refill       bool
	maxDelete    int
	force        bool
	refused      string
	fix          repair.Set
	gmail        string
	deep         bool
	format       export.Format
	dialect      export.Dialect
	create       bool // the Maildir may be another than the one on record
	unrecorded   bool // the Maildir is not put on record
	rules        []mapping.Rule
	under        string
	to           *options // of the second server
	csv          string
	jobs         int
	shard        shard
	reportFile   string
	monitor      config.Monitor // of the whole run, as the flags say
	match        match.Rule
	past         moment
	keepDeleted  config.Age
	offline      bool
	fresh        bool
	onlyIDs      bool
	anyway       bool            // although it seems needless
	ids          map[string]bool // nil: all
}

// mapFlags say which mailbox becomes which.
func mapFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "map", Category: catWhat, Usage: "the mailbox FROM becomes TO, as `FROM=TO`; may be repeated. A * in both stands for any text; an empty TO leaves the mailbox out"},
		&cli.StringFlag{Name: "under", Category: catWhat, Usage: "put everything below the mailbox `NAME`"},
	}
}

// listFlags are those of a migration of many accounts.
func listFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "csv", Category: catWhat, Usage: "migrate each account of the list in `FILE`"},
		&cli.StringFlag{Name: "jobs", Category: catWhat, Usage: "with --csv: `N` accounts at a time (default 1)"},
		&cli.StringFlag{Name: "shard", Category: catWhat, Usage: "with --csv: only part `I/N` of the list, such as 2/5; /N takes the index of a Kubernetes Indexed Job"},
		&cli.StringFlag{Name: "report", Category: catOutput, Usage: "with --csv: write how each account fared to `FILE`, as CSV"},
	}
}

// dates is a filter as it is written.
type dates struct {
	since, before   config.Date
	larger, smaller int64
}

// readOptions parses the flags of a command. An error names the flag.
func readOptions(c *cli.Context, env *Env) (*options, error) {
	o := &options{
		dryRun: c.Bool("dry-run"), mailboxes: c.StringSlice("mailbox"), plaintext: c.Bool("allow-plaintext"),
		mirror: c.Bool("mirror"), refill: c.Bool("refill"), force: c.Bool("force-deletes"), deep: c.Bool("deep"),
		create: c.Bool("create"), subscribe: c.Bool("subscriptions"), all: c.Bool("all"), delBoxes: c.Bool("delete-mailboxes"),
		offline: c.Bool("offline"), anyway: c.Bool("force"), fresh: c.Bool("fresh"), onlyIDs: c.Bool("only-ids"),
	}
	cfg := env.config()
	var first error
	text := func(flag string, parse func(string) error) {
		if first != nil || !c.IsSet(flag) {
			return
		}
		value := c.String(flag)
		if value == "" {
			first = usageError("--"+flag, "", "the value is empty")
		} else if err := parse(value); err != nil {
			first = atFlag(flag, err)
		}
	}
	path := func(flag string, to *string) {
		text(flag, func(s string) (err error) { *to, err = config.ExpandPath(s, env.Dir, cfg); return })
	}
	path("config", &o.config)
	text("removed-since", func(s string) (err error) { o.removedSince, err = config.ParseDate(s); return })
	text("older-than", func(s string) (err error) { o.olderThan, err = config.ParseAge(s); return })
	path("tls-ca", &o.tlsCA)
	path("trace", &o.trace)
	path("state", &o.state)
	text("since", func(s string) (err error) { o.filter.since, err = config.ParseDate(s); return })
	text("before", func(s string) (err error) { o.filter.before, err = config.ParseDate(s); return })
	text("larger", func(s string) (err error) { o.filter.larger, err = config.ParseSize(s); return })
	text("smaller", func(s string) (err error) { o.filter.smaller, err = config.ParseSize(s); return })
	text("limit-rate", func(s string) (err error) { o.limitRate, err = config.ParseRate(s); return })
	text("limit-messages", func(s string) (err error) { o.pace, err = config.ParsePace(s); return })
	text("limit-day-up", func(s string) (err error) { o.dayUp, err = config.ParseDayLimit(s); return })
	text("limit-day-down", func(s string) (err error) { o.dayDown, err = config.ParseDayLimit(s); return })
	text("refused", func(s string) (err error) { o.refused, err = config.ParseRefused(s); return })
	text("fix", func(s string) (err error) { o.fix, err = config.ParseFix(strings.Split(s, ",")); return })
	text("gmail", func(s string) (err error) { o.gmail, err = config.ParseGmail(s); return })
	text("layout", func(s string) (err error) { o.layout, err = config.ParseLayout(s); return })
	text("policy", func(s string) (err error) { o.policy, err = config.ParsePolicy(s); return })
	text("to-server", func(s string) (err error) { o.toServer, err = config.ParseOperations(strings.Split(s, ",")); return })
	text("to-maildir", func(s string) (err error) { o.toMaildir, err = config.ParseOperations(strings.Split(s, ",")); return })
	text("trash", func(s string) (err error) { o.trash, err = config.ParseTrash(s); return })
	text("auth", func(s string) (err error) { o.mechanism, err = auth.ParseMechanism(s); return })
	text("tunnel", func(s string) (err error) { o.tunnel, err = config.SplitCommand(s, cfg); return })
	text("max-delete", func(s string) (err error) { o.maxDelete, err = config.ParseBound(s); return })
	text("connections", func(s string) (err error) { o.connections, err = parseConnections(s); return })
	path("csv", &o.csv)
	path("report", &o.reportFile)
	text("shard", func(s string) (err error) { o.shard, err = parseShard(s, env); return })
	text("jobs", func(s string) (err error) {
		if o.jobs, err = strconv.Atoi(s); err != nil || o.jobs < 1 || o.jobs > 64 {
			return usageError("", "", "%q is no number from 1 to 64", s)
		}
		return nil
	})
	for _, rule := range c.StringSlice("map") {
		r, err := mapping.ParseRule(rule)
		if err != nil {
			return nil, err
		}
		o.rules = append(o.rules, r)
	}
	text("under", func(s string) error { o.under = s; return nil })
	text("format", func(s string) (err error) { o.format, err = export.ParseFormat(s); return })
	text("mbox", func(s string) (err error) { o.dialect, err = export.ParseDialect(s); return })
	text("keep-deleted", func(s string) (err error) { o.keepDeleted, err = config.ParseAge(s); return })
	text("ids", func(s string) (err error) { o.ids, err = readIDs(s, env); return })
	text("as-of", func(s string) (err error) { o.past, err = parseMoment(s); return })
	text("run", func(s string) (err error) { o.past.run, err = parseRun(s); return })
	if first != nil {
		return nil, first
	}
	if err := o.readPassword(c, text, path); err != nil {
		return nil, err
	}
	if err := o.readMonitor(c, env, text, path); err != nil {
		return nil, err
	}
	var err error
	if o.match, err = readMatch(c); err != nil {
		return nil, err
	}
	if o.to, err = readSecond(c, env); err != nil {
		return nil, err
	}
	if first != nil {
		return nil, first
	}
	return o, o.checkLists(c)
}

func parseConnections(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, usageError("", "", "%q is no number", s)
	}
	return config.CheckConnections(n)
}

// readPassword reads the flags of which only one may be given.
func (o *options) readPassword(c *cli.Context, text func(string, func(string) error), path func(string, *string)) error {
	var given []string
	for _, flag := range []string{"password-command", "password-file", "password-env"} {
		if c.IsSet(flag) {
			given = append(given, "--"+flag)
		}
	}
	if len(given) > 1 {
		return usageError(given[0], "", "does not go with %s", given[1])
	}
	text("password-command", func(s string) (err error) { o.password.Command, err = auth.SplitCommand(s); return })
	path("password-file", &o.password.File)
	text("password-env", func(s string) error { o.password.Env = s; return nil })
	return nil
}

func (o *options) checkLists(c *cli.Context) error {
	for _, pin := range c.StringSlice("tls-pin") {
		sum, err := config.ParsePin(pin)
		if err != nil {
			return atFlag("tls-pin", err)
		}
		o.tlsPins = append(o.tlsPins, sum)
	}
	if _, err := config.ParsePatterns(o.mailboxes); err != nil {
		return err
	}
	if o.past.at != nil && o.past.run != 0 {
		return usageError("--as-of", "", "does not go with --run")
	}
	if o.limitRate > 0 && o.tunnel != nil {
		return usageError("--limit-rate", "limit the rate within the tunnel", "does not go with --tunnel")
	}
	if o.filter.larger > 0 && o.filter.smaller > 0 && o.filter.larger >= o.filter.smaller {
		return usageError("--larger", "", "no message is larger than %d and smaller than %d octets", o.filter.larger, o.filter.smaller)
	}
	return nil
}

// atFlag is err with the flag named in place of the kind of value.
func atFlag(flag string, err error) error {
	e := *mail.AsError(err)
	e.Op = "--" + flag
	return &e
}

// config is what package config needs of the environment.
func (env *Env) config() config.Environment {
	return config.Environment{LookupEnv: env.LookupEnv, Home: env.Home, Preset: imapstore.FindPreset}
}

// absolute is a path given as an argument.
func (env *Env) absolute(path string) (string, error) {
	abs, err := config.ExpandPath(path, env.Dir, env.config())
	if err == nil && !filepath.IsAbs(abs) {
		err = usageError(path, "", "there is no working directory to start from")
	}
	return abs, err
}
