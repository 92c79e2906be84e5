package config

import (
	"slices"
	"strings"
)

// Operations are what may be done to one side of a sync.
type Operations struct {
	New             bool // messages come in
	Flags           bool
	Deletes         bool // messages that the other side deleted
	Moves           bool
	Mailboxes       bool // made and renamed
	DeleteMailboxes bool // mailboxes that the other side deleted
}

type operationWord struct {
	word string
	of   func(*Operations) *bool
}

// operationWords are the words for Operations, as the documentation has them.
// "all" is all of them but the last, which is asked for by itself.
var operationWords = []operationWord{
	{"new", func(o *Operations) *bool { return &o.New }},
	{"flags", func(o *Operations) *bool { return &o.Flags }},
	{"deletes", func(o *Operations) *bool { return &o.Deletes }},
	{"moves", func(o *Operations) *bool { return &o.Moves }},
	{"mailboxes", func(o *Operations) *bool { return &o.Mailboxes }},
	{"delete-mailboxes", func(o *Operations) *bool { return &o.DeleteMailboxes }},
}

// ParseOperations reads a list of words: those of operationWords, "all", or
// "none" alone.
func ParseOperations(words []string) (*Operations, error) {
	var o Operations
	if len(words) == 0 {
		return nil, usage("", wordsHint(), "no operation is named")
	}
	for _, word := range words {
		word = strings.TrimSpace(word)
		switch {
		case word == "none" && len(words) > 1:
			return nil, usage("", "", `"none" goes with nothing else`)
		case word == "none":
		case word == "all":
			for _, w := range operationWords {
				if w.word != "delete-mailboxes" {
					*w.of(&o) = true
				}
			}
		default:
			i := slices.IndexFunc(operationWords, func(w operationWord) bool { return w.word == word })
			if i < 0 {
				return nil, unknownWord(word)
			}
			*operationWords[i].of(&o) = true
		}
	}
	return &o, nil
}

// operationNames are all words of a list of operations.
func operationNames() []string {
	names := []string{"all", "none"}
	for _, w := range operationWords {
		names = append(names, w.word)
	}
	return names
}

func wordsHint() string { return "the words are " + strings.Join(operationNames(), ", ") }

func unknownWord(word string) error {
	hint := wordsHint()
	if near := Nearest(word, operationNames()); near != "" {
		hint = `did you mean "` + near + `"? ` + hint
	}
	return usage("", hint, "%q is no operation", word)
}

// policies are the names of the presets of a sync.
var policies = []string{"sync", "backup", "mirror", "push"}

// ParsePolicy checks the name of a preset.
func ParsePolicy(name string) (string, error) {
	if slices.Contains(policies, name) {
		return name, nil
	}
	hint := "one of " + strings.Join(policies, ", ")
	if near := Nearest(name, policies); near != "" {
		hint = `did you mean "` + near + `"?`
	}
	return "", usage("", hint, "unknown policy %q", name)
}

// RefusedFail ends a run at the first message that is refused; the other choice
// leaves such messages out.
const RefusedFail = "fail"

var refusals = []string{"skip", RefusedFail}

// ParseRefused checks what is to be done about messages that are refused.
func ParseRefused(word string) (string, error) {
	if slices.Contains(refusals, word) {
		return word, nil
	}
	return "", usage("", "one of "+strings.Join(refusals, ", "), "%q is no choice", word)
}

// GmailPlain shows the mailboxes of an account with labels as IMAP does; the other
// choice shows each message where its labels are.
const GmailPlain = "plain"

var gmailModes = []string{"labels", GmailPlain}

// ParseGmail checks how labels are to be shown.
func ParseGmail(word string) (string, error) {
	if slices.Contains(gmailModes, word) {
		return word, nil
	}
	return "", usage("", "one of "+strings.Join(gmailModes, ", "), "%q is no choice", word)
}
