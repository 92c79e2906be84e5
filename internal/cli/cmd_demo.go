package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"postbag/internal/auth"
	"postbag/internal/config"
	"postbag/internal/demo"
	"postbag/internal/mail"
)

// demoMessages is how much mail the demo's account holds.
const demoMessages = 300

func demoCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "demo",
		Usage:     "show a backup of an account that lives in this process",
		UsageText: "demo [DIR]",
		Description: `Starts an IMAP server on 127.0.0.1 with sample mail, backs it up into DIR,
changes a few things on the server, backs up again, and verifies. Nothing has to
be set up, and no other server is contacted. DIR must be empty or missing, and is
kept; without it a temporary directory is used and removed.`,
		ArgsUsage: "  postbag demo\n  postbag demo ~/postbag-demo",
		Flags:     outputFlags()[1:],
		Action: s.action(func(_ *options, args []string) error {
			if len(args) > 1 {
				return usageError("demo", "postbag help demo", "takes one directory, not %d", len(args))
			}
			dir, done, err := s.demoDir(args)
			if err != nil {
				return err
			}
			if err := errors.Join(s.demo(dir), done()); err != nil {
				return err
			}
			s.out.result("")
			if len(args) == 0 {
				s.out.result("The server is gone, and so is the Maildir. \"postbag demo DIR\" keeps it.")
				return nil
			}
			s.out.result("The server is gone, the Maildir stays. Look at it with")
			for _, command := range []string{"postbag mailboxes " + dir, "postbag verify " + dir, "mutt -f " + filepath.Join(dir, "INBOX")} {
				s.out.result("  %s", command)
			}
			return nil
		}),
	}
}

// demoDir is where the demo's mail goes; done removes it when it is temporary.
func (s *session) demoDir(args []string) (dir string, done func() error, err error) {
	if len(args) == 0 {
		dir, err = os.MkdirTemp("", "postbag-demo-")
		return filepath.Join(dir, "mail"), func() error { return os.RemoveAll(dir) }, err
	}
	if dir, err = s.env.absolute(args[0]); err != nil {
		return "", nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, usageError("demo "+dir, "", "%w", bare(err))
	}
	if len(entries) > 0 {
		return "", nil, usageError("demo "+dir, "name a directory that does not exist yet", "is not empty")
	}
	return dir, func() error { return nil }, nil
}

// demo goes through the life of a backup.
func (s *session) demo(dir string) error {
	const user, password = "demo", "demo"
	server, err := demo.Start(s.ctx, demo.Options{Users: map[string]string{user: password}})
	if err != nil {
		return err
	}
	defer server.Close()
	mailbox := server.Account(user)
	if err := mailbox.Fill(demo.Corpus(1, demoMessages)); err != nil {
		return err
	}
	address, err := config.ParseServer("imap://" + user + "@" + server.Addr())
	if err != nil {
		return err
	}
	a := &config.Account{Server: address, Maildir: dir, AllowPlaintext: true, Password: auth.Source{Value: auth.NewSecret(password)}}
	o := &options{unrecorded: true}
	backup := fmt.Sprintf("postbag backup %s %s --allow-plaintext", address, dir)
	run := func() int { return s.runPair(backupJob(a), o, a, "") }
	steps := []struct {
		say, command string
		prepare      func() error
		run          func() int
	}{
		{"The first backup copies everything.", backup, nil, run},
		{"When nothing changed, the next one is over at once.", backup, nil, run},
		{"On the server a message comes in, one is marked, and one is deleted. The backup keeps what was deleted.", backup,
			func() error { return changeDemo(mailbox) }, run},
		{"Every message in the Maildir is compared with its digest, and with the server.", "postbag verify" + backup[len("postbag backup"):],
			nil, func() int { return s.verify(o, a, true, "") }},
		{"What is there, and what was done:", "postbag status " + dir, nil, func() int { return s.status(a, "") }},
	}
	s.out.result("A server with %s in %s is at %s.", count(demoMessages, "message"), count(len(demo.Mailboxes()), "mailbox"), address)
	for _, step := range steps {
		if step.prepare != nil {
			if err := step.prepare(); err != nil {
				return err
			}
		}
		s.out.result("")
		s.out.result("%s", step.say)
		s.out.result("$ %s", step.command)
		s.out.start = s.env.Now()
		if code := step.run(); code != exitDone {
			return exitError(code)
		}
	}
	return nil
}

// changeDemo does on the server what people do.
func changeDemo(a *demo.Account) error {
	list := a.Messages("INBOX")
	if len(list) < 2 {
		return errors.New("the demo's INBOX is empty")
	}
	first, last := list[0], list[len(list)-1]
	if err := a.SetFlags("INBOX", first.UID, first.Flags.Union(mail.ParseFlags(`\Flagged`, "$Important"))); err != nil {
		return err
	}
	if err := a.Expunge("INBOX", last.UID); err != nil {
		return err
	}
	date := time.Date(2025, time.November, 21, 9, 30, 0, 0, time.UTC)
	_, err := a.Add(demo.Sample{Mailbox: "INBOX", Date: date, Raw: []byte("From: Ada <ada@example.org>\r\nTo: demo@example.org\r\n" +
		"Subject: Lunch?\r\nDate: Fri, 21 Nov 2025 09:30:00 +0000\r\nMessage-ID: <lunch@example.org>\r\n\r\nAt one, as ever?\r\n")})
	return err
}
