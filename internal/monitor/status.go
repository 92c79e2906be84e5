package monitor

import (
	"encoding/json"
	"errors"
)

// UpdateStatus puts the last run of a command into the status file at path: one
// JSON object with a Run for each command. Accounts that were no part of the run
// stay as they are, unless known says that there are no such accounts any more.
func UpdateStatus(path, command string, run Run, known func(account string) bool) error {
	return update(path, func(old []byte) ([]byte, error) {
		file := map[string]Run{}
		if len(old) > 0 {
			if err := json.Unmarshal(old, &file); err != nil {
				return nil, errForeign
			}
		}
		for _, r := range file {
			if r.Start.IsZero() || r.Outcome == "" {
				return nil, errForeign
			}
		}
		before := file[command]
		run.LastSuccess = run.succeeded(before.LastSuccess)
		accounts := map[string]Run{}
		for name, r := range before.Accounts {
			if known(name) {
				accounts[name] = r
			}
		}
		for name, r := range run.Accounts {
			r.LastSuccess = r.succeeded(before.Accounts[name].LastSuccess)
			accounts[name] = r
		}
		run.Accounts = accounts
		file[command] = run
		text, err := json.MarshalIndent(file, "", "  ")
		return append(text, '\n'), err
	})
}

// errForeign is the refusal to replace a file that something else wrote.
var errForeign = errors.New("was not written by postbag: name another file, or remove it")
