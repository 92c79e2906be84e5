package demo

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"postbag/internal/mail"
)

// session is one connection. The library calls its methods from one goroutine
// at a time.
type session struct {
	server  *Server
	conn    *imapserver.Conn
	user    string
	account *Account // nil before login
	view    *view    // nil when no mailbox is selected
	done    func()   // tells the listener that the session has ended
}

var (
	_ imapserver.SessionIMAP4rev2   = (*session)(nil)
	_ imapserver.SessionAppendLimit = (*session)(nil)
)

func no(code imap.ResponseCode, format string, args ...any) error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: fmt.Sprintf(format, args...)}
}

// before gives the server's owner a say.
func (s *session) before(verb, mailbox string) error {
	if s.server.options.Before == nil {
		return nil
	}
	err := s.server.options.Before(s.user, verb, mailbox)
	if errors.Is(err, ErrHangUp) {
		_ = s.conn.NetConn().Close() // what the command then writes fails
	}
	return err
}

// beforeSelected is before, for commands on the selected mailbox.
func (s *session) beforeSelected(verb string) error {
	if s.server.options.Before == nil {
		return nil
	}
	s.account.mu.Lock()
	name := s.view.box.name
	s.account.mu.Unlock()
	return s.before(verb, name)
}

// Close is called once, when the connection has ended.
func (s *session) Close() error {
	s.view = nil
	s.done()
	return nil
}

func (s *session) Login(user, password string) error {
	if err := s.before("LOGIN", ""); err != nil {
		return err
	}
	a := s.server.accounts[user]
	if a == nil || subtle.ConstantTimeCompare([]byte(a.password), []byte(password)) != 1 {
		return imapserver.ErrAuthFailed
	}
	s.user, s.account = user, a
	return nil
}

func (s *session) AppendLimit() uint32 {
	if s.server.options.MaxMessage > 0 {
		return s.server.options.MaxMessage
	}
	return 1 << 30
}

func (s *session) Namespace() (*imap.NamespaceData, error) {
	return &imap.NamespaceData{Personal: []imap.NamespaceDescriptor{{Delim: '/'}}}, nil
}

// change runs a change of the mailbox tree; what goes wrong is a NO.
func (s *session) change(verb, mailbox string, code imap.ResponseCode, fn func() error) error {
	if err := s.before(verb, mailbox); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return no(code, "%v", err)
	}
	return nil
}

func (s *session) Create(name string, o *imap.CreateOptions) error {
	m := Mailbox{Name: strings.TrimSuffix(name, "/")}
	for _, attr := range o.SpecialUse {
		m.Use = mail.ParseSpecialUse(string(attr))
	}
	return s.change("CREATE", m.Name, imap.ResponseCodeAlreadyExists, func() error { return s.account.Create(m) })
}

func (s *session) Delete(name string) error {
	return s.change("DELETE", name, imap.ResponseCodeNonExistent, func() error { return s.account.Delete(name) })
}

func (s *session) Rename(from, to string, _ *imap.RenameOptions) error {
	to = strings.TrimSuffix(to, "/")
	return s.change("RENAME", from, imap.ResponseCodeCannot, func() error { return s.account.Rename(from, to) })
}

func (s *session) Subscribe(name string) error   { return s.subscribe("SUBSCRIBE", name, true) }
func (s *session) Unsubscribe(name string) error { return s.subscribe("UNSUBSCRIBE", name, false) }

func (s *session) subscribe(verb, name string, on bool) error {
	return s.change(verb, name, imap.ResponseCodeNonExistent, func() error {
		return s.account.within(name, func(b *box) error {
			b.subscribed = on
			return nil
		})
	})
}

func (s *session) Status(name string, o *imap.StatusOptions) (data *imap.StatusData, err error) {
	err = s.change("STATUS", name, imap.ResponseCodeNonExistent, func() error {
		return s.account.within(name, func(b *box) error {
			data = b.status(o)
			return nil
		})
	})
	return data, err
}

func (b *box) status(o *imap.StatusOptions) *imap.StatusData {
	total, unseen, deleted, recent := uint32(len(b.msgs)), uint32(0), uint32(0), uint32(0)
	var size, deletedSize int64
	if o.NumUnseen || o.NumDeleted || o.Size || o.DeletedStorage {
		for _, m := range b.msgs {
			size += int64(len(m.raw))
			if m.flags.System&mail.Seen == 0 {
				unseen++
			}
			if m.flags.System&mail.Deleted != 0 {
				deleted++
				deletedSize += int64(len(m.raw))
			}
		}
	}
	return &imap.StatusData{
		Mailbox: b.name, NumMessages: &total, NumRecent: &recent, UIDNext: imap.UID(b.uidNext), UIDValidity: b.validity,
		NumUnseen: &unseen, NumDeleted: &deleted, Size: &size, DeletedStorage: &deletedSize,
	}
}

// Append stores a message only when all of its octets came.
func (s *session) Append(name string, r imap.LiteralReader, o *imap.AppendOptions) (*imap.AppendData, error) {
	if err := s.before("APPEND", name); err != nil {
		return nil, err
	}
	raw := make([]byte, r.Size())
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, fmt.Errorf("append to %s: %w", name, err)
	}
	date := o.Time
	if date.IsZero() {
		date = time.Now().Truncate(time.Second)
	}
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	b := s.account.boxes[name]
	if b == nil {
		return nil, no(imap.ResponseCodeTryCreate, "no mailbox %s", name)
	}
	m := b.add(raw, flagsOf(o.Flags), date)
	return &imap.AppendData{UIDValidity: b.validity, UID: imap.UID(m.uid)}, nil
}

func flagsOf(flags []imap.Flag) mail.Flags {
	names := make([]string, len(flags))
	for i, f := range flags {
		names[i] = string(f)
	}
	return mail.ParseFlags(names...)
}

func wireFlags(f mail.Flags) []imap.Flag {
	names := f.Names()
	flags := make([]imap.Flag, len(names))
	for i, name := range names {
		flags[i] = imap.Flag(name)
	}
	return flags
}

func (s *session) List(w *imapserver.ListWriter, ref string, patterns []string, o *imap.ListOptions) error {
	if err := s.before("LIST", ""); err != nil {
		return err
	}
	if len(patterns) == 0 {
		return w.WriteList(&imap.ListData{Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}, Delim: '/'})
	}
	s.account.mu.Lock()
	rows := s.account.listing(ref, patterns, o)
	s.account.mu.Unlock()
	for i := range rows {
		if err := w.WriteList(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// listing lists the mailboxes that match, and the parents that are not
// mailboxes themselves as \Noselect.
func (a *Account) listing(ref string, patterns []string, o *imap.ListOptions) []imap.ListData {
	var rows []imap.ListData
	listed := map[string]bool{}
	row := func(name string, b *box) {
		if listed[name] {
			return
		}
		listed[name] = true
		for _, p := range patterns {
			if imapserver.MatchList(name, '/', ref, p) {
				rows = append(rows, a.listRow(name, b, o))
				return
			}
		}
	}
	for _, name := range a.names() {
		for i := range len(name) {
			if name[i] == '/' && a.boxes[name[:i]] == nil && !o.SelectSubscribed && !o.SelectSpecialUse {
				row(name[:i], nil)
			}
		}
		b := a.boxes[name]
		if (!o.SelectSubscribed || b.subscribed) && (!o.SelectSpecialUse || b.use != "") {
			row(name, b)
		}
	}
	return rows
}

func (a *Account) listRow(name string, b *box, o *imap.ListOptions) imap.ListData {
	data := imap.ListData{Mailbox: name, Delim: '/', Attrs: []imap.MailboxAttr{imap.MailboxAttrHasNoChildren}}
	for other := range a.boxes {
		if strings.HasPrefix(other, name+"/") {
			data.Attrs[0] = imap.MailboxAttrHasChildren
			break
		}
	}
	if b == nil {
		data.Attrs = append(data.Attrs, imap.MailboxAttrNoSelect)
		return data
	}
	if b.use != "" {
		data.Attrs = append(data.Attrs, imap.MailboxAttr(b.use))
	}
	if b.subscribed && (o.ReturnSubscribed || o.SelectSubscribed) {
		data.Attrs = append(data.Attrs, imap.MailboxAttrSubscribed)
	}
	if o.ReturnStatus != nil {
		data.Status = b.status(o.ReturnStatus)
	}
	return data
}
