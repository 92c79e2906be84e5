package cli

import (
	"github.com/urfave/cli/v2"

	"postbag/internal/match"
)

// matchFlags choose messages by what their header says, and by their flags.
func matchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "from", Category: catWhat, Usage: "only messages with `TEXT` in their From, whatever its case; may be repeated, one of the texts is enough"},
		&cli.StringSliceFlag{Name: "to", Category: catWhat, Usage: "only messages with `TEXT` in To, Cc or Bcc"},
		&cli.StringSliceFlag{Name: "subject", Category: catWhat, Usage: "only messages with `TEXT` in their Subject"},
		&cli.StringSliceFlag{Name: "flag", Category: catWhat, Usage: "only messages with the flag `WORD`: seen, answered, flagged, deleted, draft or a keyword; may be repeated, all must be there"},
		&cli.StringSliceFlag{Name: "not-flag", Category: catWhat, Usage: "only messages without the flag `WORD`: seen, answered, flagged, deleted, draft or a keyword; may be repeated"},
	}
}

// readMatch parses matchFlags.
func readMatch(c *cli.Context) (match.Rule, error) {
	r := match.Rule{From: c.StringSlice("from"), To: c.StringSlice("to"), Subject: c.StringSlice("subject")}
	for name, texts := range map[string][]string{"from": r.From, "to": r.To, "subject": r.Subject} {
		for _, text := range texts {
			if match.Fold(text) == "" {
				return r, usageError("--"+name, "", "the value is empty")
			}
		}
	}
	for _, word := range c.StringSlice("flag") {
		f, ok := match.ParseFlag(word)
		if !ok {
			return r, usageError("--flag", "seen, answered, flagged, deleted, draft, or a keyword", "%q is no flag", word)
		}
		r.Flags = r.Flags.Union(f)
	}
	for _, word := range c.StringSlice("not-flag") {
		f, ok := match.ParseFlag(word)
		if !ok {
			return r, usageError("--not-flag", "seen, answered, flagged, deleted, draft, or a keyword", "%q is no flag", word)
		}
		r.Without = r.Without.Union(f)
	}
	return r, nil
}
