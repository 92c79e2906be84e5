package cli

import (
	"testing"

	"postbag/internal/config"
	"postbag/sync"
)

func TestSyncPolicy(t *testing.T) {
	t.Parallel()
	all := sync.Allow{New: true, Flags: true, Deletes: true, Moves: true, Mailboxes: true}
	kept := sync.Allow{New: true, Flags: true, Moves: true, Mailboxes: true}
	whole := all
	whole.DeleteMailboxes = true
	few := &config.Operations{New: true, Flags: true}
	for name, tt := range map[string]struct {
		account config.Account
		want    [2]sync.Allow
	}{
		"nothing said":               {config.Account{}, [2]sync.Allow{all, all}},
		"mirror is of backup":        {config.Account{Mirror: true}, [2]sync.Allow{all, all}},
		"backup":                     {config.Account{Policy: "backup"}, [2]sync.Allow{{}, kept}},
		"mirror":                     {config.Account{Policy: "mirror"}, [2]sync.Allow{{}, all}},
		"push":                       {config.Account{Policy: "push"}, [2]sync.Allow{kept, {}}},
		"one side said":              {config.Account{ToServer: few}, [2]sync.Allow{{New: true, Flags: true}, all}},
		"preset and one side":        {config.Account{Policy: "push", ToServer: few}, [2]sync.Allow{{New: true, Flags: true}, {}}},
		"nothing to the server":      {config.Account{ToServer: &config.Operations{}}, [2]sync.Allow{{}, all}},
		"mailboxes go where all may": {config.Account{DelMailboxes: true}, [2]sync.Allow{whole, whole}},
		"but not where none may":     {config.Account{DelMailboxes: true, Policy: "mirror"}, [2]sync.Allow{{}, whole}},
		"nor where all is kept":      {config.Account{DelMailboxes: true, Policy: "push"}, [2]sync.Allow{kept, {}}},
	} {
		if got := syncPolicy(&tt.account).May; got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
}
