package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/sync"
)

// jsonFields lists the fields of a type as docs/json.md names them: true when
// the field is always there.
func jsonFields(t reflect.Type, prefix string, into map[string]bool) {
	for field := range t.Fields() {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		ft := field.Type
		if field.Anonymous {
			jsonFields(ft, prefix, into)
			continue
		}
		if !field.IsExported() {
			continue
		}
		inner := ft
		if ft.Kind() == reflect.Pointer {
			inner = ft.Elem()
		}
		nested := inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]()
		list := ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct
		if !nested || inner != ft {
			into[prefix+tag] = options != "omitempty"
		}
		if nested {
			jsonFields(inner, prefix+tag+".", into)
		}
		if list {
			jsonFields(ft.Elem(), prefix+tag+"[].", into)
		}
	}
}

// docs/json.md describes each object, with every field that it can have and no
// other, and says of each whether it can be left out.
func TestDocumentedObjects(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		name, rest, _ := strings.Cut(section, "\n")
		sections[name] = rest
	}
	row := regexp.MustCompile("(?m)^\\| (`[^|]*) \\|")
	name := regexp.MustCompile("`([a-z_.\\[\\]]+)`(\\?)?")
	described := func(section string) map[string]bool {
		fields := map[string]bool{}
		for _, r := range row.FindAllStringSubmatch(sections[section], -1) {
			for _, m := range name.FindAllStringSubmatch(r[1], -1) {
				fields[m[1]] = m[2] == ""
			}
		}
		return fields
	}
	types := map[string]reflect.Type{
		"summary": reflect.TypeFor[summary](), "mailbox, of backup": reflect.TypeFor[changeEvent](),
		"mailbox, of mailboxes": reflect.TypeFor[listEvent](), "finding, of verify": reflect.TypeFor[findingEvent](), "route": reflect.TypeFor[routeEvent](),
		"status, of status": reflect.TypeFor[statusEvent](), "error": reflect.TypeFor[errorEvent](), "trashed, of trash": reflect.TypeFor[trashedEvent](), "server, of doctor": reflect.TypeFor[serverEvent](), "maildir, of doctor": reflect.TypeFor[treeEvent](),
		"version, of version": reflect.TypeFor[versionEvent](),
		"message, of list":    reflect.TypeFor[messageEvent](),
		"run, of history":     reflect.TypeFor[runEvent](), "state, of state": reflect.TypeFor[stateInfo](), "damage, of state": reflect.TypeFor[damageEvent](),
		"checked, of state": reflect.TypeFor[checkedEvent](), "rebuilt, of state": reflect.TypeFor[rebuiltEvent](), "pruned, of prune": reflect.TypeFor[prunedEvent](),
	}
	if len(sections) != len(types) {
		t.Errorf("got %d sections, want %d", len(sections), len(types))
	}
	for section, typ := range types {
		got, want := described(section), map[string]bool{}
		jsonFields(typ, "", want)
		if got["problems[]"] { // as in summary
			delete(got, "problems[]")
			for field, always := range described("summary") {
				if strings.HasPrefix(field, "problems[]") {
					got[field] = always
				}
			}
		}
		for field, always := range want {
			if have, ok := got[field]; !ok || have != always {
				t.Errorf("%s: %s: described %v, always there %v; want always there %v", section, field, ok, have, always)
			}
		}
		for field := range got {
			if _, ok := want[field]; !ok {
				t.Errorf("%s: there is no field %s", section, field)
			}
		}
	}
	for section, words := range map[string][]string{
		"finding, of verify": {string(sync.Missing), string(sync.Extra), string(sync.Different), string(sync.Damaged), string(sync.FlagsKind), string(sync.Unread), string(sync.Repaired)},
		"summary":            {string(sync.Done), string(sync.Partial), string(sync.Refused), string(sync.Failed), string(sync.Interrupted)},
		"error":              kindNames(),
		"trashed, of trash":  {"trashed", "restored", "emptied"},
	} {
		for _, word := range words {
			if !strings.Contains(sections[section], "`"+word+"`") {
				t.Errorf("%s: %q is not described", section, word)
			}
		}
	}
}

// kindNames are the names of all kinds of errors.
func kindNames() []string {
	names := []string{"interrupted"}
	for k := mail.KindOther; kindName(k) != ""; k++ {
		names = append(names, kindName(k))
	}
	return names
}
