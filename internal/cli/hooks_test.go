package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"postbag/internal/demo"
	"postbag/internal/mail"
)

// hook does what a line "% ..." of a script says.
func (w *world) hook(words []string) {
	w.t.Helper()
	if err := w.tryHook(words); err != nil {
		w.t.Fatalf("%% %s: %v", strings.Join(words, " "), err)
	}
}

func (w *world) tryHook(words []string) error {
	arg := func(i int) string {
		if i < len(words) {
			return strings.ReplaceAll(words[i], "_", " ")
		}
		return ""
	}
	number, _ := strconv.Atoi(arg(2))
	switch words[0] {
	case "write": // write FILE MODE LINE...
		mode, err := strconv.ParseUint(words[2], 8, 32)
		if err != nil {
			return err
		}
		path := filepath.Join(w.dir, words[1])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		text := strings.ReplaceAll(w.fill(strings.Join(words[3:], " ")), " | ", "\n") + "\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		return os.Chmod(path, os.FileMode(mode))
	case "mkdir":
		return os.MkdirAll(filepath.Join(w.dir, words[1]), 0o700)
	case "remove":
		return os.RemoveAll(filepath.Join(w.dir, words[1]))
	case "rename": // rename FROM TO
		return os.Rename(filepath.Join(w.dir, words[1]), filepath.Join(w.dir, words[2]))
	case "touch": // touch FILE DATE
		date, err := time.Parse(time.DateOnly, words[2])
		if err != nil {
			return err
		}
		date = date.Add(12 * time.Hour) // the same day in most places
		return os.Chtimes(filepath.Join(w.dir, words[1]), date, date)
	case "missing": // missing FILE: it must not be there
		if _, err := os.Lstat(filepath.Join(w.dir, words[1])); err == nil {
			return fmt.Errorf("%s is there", words[1])
		}
		return nil
	}
	account := w.server.Account("me")
	switch words[0] {
	case "deliver": // deliver MAILBOX N [ROLE]
		for i := range number {
			_, err := account.Add(demo.Sample{Mailbox: arg(1), Use: mail.SpecialUse(arg(3)), Date: time.Date(2024, 1, 1+i, 12, 0, 0, 0, time.UTC),
				Raw: fmt.Appendf(nil, "Subject: %d\r\nMessage-ID: <%s.%d.%d@example.org>\r\n\r\n%s\r\n", i, strings.ReplaceAll(arg(1), " ", "-"), i, len(account.Messages(arg(1))), strings.Repeat("x", 1000))})
			if err != nil {
				return err
			}
		}
		return nil
	case "flag": // flag MAILBOX UID FLAG
		return account.SetFlags(arg(1), uint32(number), mail.ParseFlags(words[3]))
	case "expunge": // expunge MAILBOX FROM TO
		last, _ := strconv.Atoi(arg(3))
		for uid := number; uid <= max(last, number); uid++ {
			if err := account.Expunge(arg(1), uint32(uid)); err != nil {
				return err
			}
		}
		return nil
	case "damage", "delete": // damage MAILDIR N: the file of the message with subject N
		path, text, err := w.file(words[1], words[2])
		if err != nil {
			return err
		}
		if words[0] == "delete" {
			return os.Remove(path)
		}
		text[len(text)/2] ^= 1
		return os.WriteFile(path, text, 0o600)
	}
	return fmt.Errorf("no such hook")
}

// file finds the file of a message by its subject.
func (w *world) file(box, subject string) (path string, text []byte, err error) {
	files, err := filepath.Glob(filepath.Join(w.dir, box, "[cn][ue][rw]", "*"))
	if err != nil {
		return "", nil, err
	}
	for _, path := range files {
		if text, err = os.ReadFile(path); err == nil && strings.HasPrefix(string(text), "Subject: "+subject) {
			return path, text, nil
		}
	}
	return "", nil, fmt.Errorf("no message %s in %s", subject, box)
}
