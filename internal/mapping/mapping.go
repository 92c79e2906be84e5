// Package mapping decides which mailbox of one store becomes which of another, and
// shows a store under the other's names. The plan is a pure function of both
// listings and the rules: it can be shown before anything is sent, and comes out the
// same in each run.
package mapping

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"postbag/internal/mail"
)

// Rule says that a mailbox becomes another one. From may hold one "*", which stands
// for any text across levels; To may hold one, too, where that text goes. A To of ""
// leaves the mailbox out.
type Rule struct{ From, To string }

// Why says what decided a route.
type Why string

// The reasons of routes.
const (
	ByRule  Why = "rule"    // a Rule
	ByRole  Why = "role"    // the mailbox there has the same role (RFC 6154), or is below one that has
	ByName  Why = "name"    // it keeps its name
	Changed Why = "changed" // its name cannot be used there as it is
)

// Route is where one mailbox goes.
type Route struct {
	From, To string // To is "" for a mailbox that a rule leaves out
	Use      mail.SpecialUse
	Why      Why
	Reason   string // of Changed: what is wrong with the name
	Messages int    // -1 when the listing does not tell
	Bytes    int64  // likewise
}

// Dest is what is known of the store that mail goes to.
type Dest struct {
	Listed []mail.MailboxInfo
	// Fold says that names which differ in case only are one mailbox there.
	Fold bool
	// Archive sends a mailbox \All, which holds only what is in no other one, to the
	// archive there; to \All with Labels, which says that it is written to like any other.
	Archive, Labels bool
	// Fits tells what is wrong with a name that cannot be used there; nil takes all.
	Fits func(name string) error
}

// movable are the roles by which mailboxes are paired. The others are views of
// mail that lies elsewhere.
var movable = []mail.SpecialUse{mail.UseArchive, mail.UseDrafts, mail.UseJunk, mail.UseSent, mail.UseTrash}

// Plan routes every mailbox of source, in the order of their names. under, when
// set, is the mailbox below which all that no rule names goes, INBOX too. It fails
// when two mailboxes would become one.
func Plan(source []mail.MailboxInfo, dest Dest, rules []Rule, under string) ([]Route, error) {
	p := planner{dest: dest, rules: rules, under: under, roles: map[string]string{}}
	there := map[mail.SpecialUse]string{}
	for _, info := range dest.Listed {
		if there[info.Use] == "" {
			there[info.Use] = info.Name
		}
	}
	for _, info := range source {
		if to := there[info.Use]; slices.Contains(movable, info.Use) && to != "" && under == "" && info.Name != "INBOX" {
			p.roles[info.Name] = to
		}
	}
	if dest.Archive && under == "" {
		p.archive(source, there)
	}
	var routes []Route
	for _, info := range source {
		if info.NoSelect || info.Err != nil {
			continue
		}
		r := p.route(info.Name)
		r.Use, r.Messages, r.Bytes = info.Use, info.Messages, info.Bytes
		routes = append(routes, r)
	}
	slices.SortFunc(routes, func(a, b Route) int { return cmp.Compare(a.From, b.From) })
	return routes, collisions(routes, dest.Fold)
}

// archive sends \All to where it belongs, if nothing else goes there.
func (p *planner) archive(source []mail.MailboxInfo, there map[mail.SpecialUse]string) {
	to := cmp.Or(there[mail.UseArchive], "Archive")
	if p.dest.Labels && there[mail.UseAll] != "" {
		to = there[mail.UseAll]
	}
	for _, all := range source {
		if all.Use != mail.UseAll || all.NoSelect || all.Err != nil {
			continue
		}
		if !slices.ContainsFunc(source, func(o mail.MailboxInfo) bool {
			r := p.route(o.Name)
			return o.Name != all.Name && (r.To == to || p.dest.Fold && strings.EqualFold(r.To, to))
		}) {
			p.roles[all.Name] = to
		}
		return
	}
}

type planner struct {
	dest  Dest
	rules []Rule
	under string
	roles map[string]string // the names of mailboxes with a role: where they go
}

func (p *planner) route(name string) Route {
	if to, ok := apply(p.rules, name); ok {
		return Route{From: name, To: to, Why: ByRule}
	}
	r := Route{From: name, To: name, Why: ByName}
	if to, ok := p.byRole(name); ok {
		r.To, r.Why = to, ByRole
	}
	if p.under != "" {
		r.To = p.under + "/" + name
	}
	if p.dest.Fits == nil {
		return r
	}
	if err := p.dest.Fits(r.To); err != nil {
		r.To, r.Why, r.Reason = p.fitting(r.To), Changed, err.Error()
	}
	return r
}

// byRole finds the role of a mailbox, or of the nearest one above it.
func (p *planner) byRole(name string) (string, bool) {
	for head := name; ; {
		if to, ok := p.roles[head]; ok {
			return to + name[len(head):], true
		}
		i := strings.LastIndexByte(head, '/')
		if i < 0 {
			return "", false
		}
		head = head[:i]
	}
}

// fitting is a name with what the destination does not take replaced, character
// by character, by "_".
func (p *planner) fitting(name string) string {
	components := mail.SplitName(name)
	for i, c := range components {
		if p.fits(c) {
			continue
		}
		var b strings.Builder
		for _, r := range c {
			if !p.fits("x" + string(r) + "x") {
				r = '_'
			}
			b.WriteRune(r)
		}
		c = b.String()
		for c != "" && !p.fits(c) && !p.fits(c+"_") && (c[0] == ' ' || p.fits("_"+c[1:])) {
			c = "_" + c[1:]
		}
		if trimmed := strings.TrimRight(c, " ."); trimmed != c && !p.fits(c) {
			c = trimmed + strings.Repeat("_", len(c)-len(trimmed))
		}
		for strings.Contains(c, "  ") && !p.fits(c) {
			c = strings.Replace(c, "  ", " _", 1)
		}
		components[i] = c
	}
	// What is left is about the whole: a name that is kept for something else.
	fitted := mail.JoinName(components...)
	if p.dest.Fits(fitted) != nil {
		components[0] += "_"
		if other := mail.JoinName(components...); p.dest.Fits(other) == nil {
			return other
		}
	}
	return fitted
}

func (p *planner) fits(component string) bool {
	return p.dest.Fits(mail.JoinName(component)) == nil
}

// apply finds the first rule that names a mailbox without a "*", else the first
// with one.
func apply(rules []Rule, name string) (string, bool) {
	for _, r := range rules {
		if !strings.Contains(r.From, "*") && r.From == name {
			return r.To, true
		}
	}
	for _, r := range rules {
		head, tail, wild := strings.Cut(r.From, "*")
		if wild && len(name) >= len(head)+len(tail) && strings.HasPrefix(name, head) && strings.HasSuffix(name, tail) {
			return strings.Replace(r.To, "*", name[len(head):len(name)-len(tail)], 1), true
		}
	}
	return "", false
}

// collisions refuses routes of which two have one end.
func collisions(routes []Route, fold bool) error {
	from := map[string]string{}
	for _, r := range routes {
		key := r.To
		if fold {
			key = strings.ToLower(key)
		}
		if r.To == "" {
			continue
		}
		if other, taken := from[key]; taken {
			return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: "map",
				Err:  fmt.Errorf("%q and %q would both become %q", other, r.From, r.To),
				Hint: fmt.Sprintf("give one of them another name, such as --map '%s=%s 2', or leave it out with --mailbox '!%s'", r.From, r.To, r.From)}
		}
		from[key] = r.From
	}
	return nil
}

// ParseRule reads "FROM=TO".
func ParseRule(text string) (Rule, error) {
	from, to, ok := strings.Cut(text, "=")
	r := Rule{strings.TrimSpace(from), strings.TrimSpace(to)}
	bad := ""
	switch {
	case !ok:
		bad = "is not of the form FROM=TO"
	case r.From == "":
		bad = "names no mailbox to map"
	case strings.Count(r.From, "*") > 1 || strings.Count(r.To, "*") > 1:
		bad = `has more than one "*" on a side`
	case strings.Contains(r.To, "*") && !strings.Contains(r.From, "*"):
		bad = `has a "*" that stands for nothing`
	case strings.Contains(r.From, "*") && r.To != "" && !strings.Contains(r.To, "*"):
		bad = `would make one mailbox of many: a "*" in FROM needs one in TO`
	}
	if bad != "" {
		return Rule{}, &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: "map " + text, Err: fmt.Errorf("%s", bad),
			Hint: "write it as 'Work=Projects/Work' or 'INBOX/*=*'"}
	}
	return r, nil
}
