package config

import (
	"strings"

	"postbag/internal/repair"
)

func fixNames() []string { return append(repair.AllNames(), "all") }

// ParseFix reads the names of repairs, as package repair has them.
func ParseFix(words []string) (repair.Set, error) {
	names := fixNames()
	hint := "the names are " + strings.Join(names, ", ")
	set, unknown := repair.Parse(words...)
	switch {
	case unknown != "":
		if near := Nearest(unknown, names); near != "" {
			hint = `did you mean "` + near + `"? ` + hint
		}
		return 0, usage("", hint, "%q is no repair", unknown)
	case set == 0:
		return 0, usage("", hint, "no repair is named")
	}
	return set, nil
}
