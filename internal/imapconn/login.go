package imapconn

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"postbag/internal/mail"
)

// sendBatch writes several commands at once.
func (w *wire) sendBatch(texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	if err := w.takeTurn(); err != nil {
		return err
	}
	defer w.giveTurn()
	for _, text := range texts {
		w.trace.line("C", []byte(text))
		if _, err := w.dst.WriteString(text + "\r\n"); err != nil {
			return w.broken(err)
		}
	}
	return w.push()
}

// takeCaps takes capabilities from a response code, if they are there.
func (s *session) takeCaps(status Status) {
	if status.Code == "CAPABILITY" {
		s.setCaps(strings.Fields(status.CodeArgs))
	}
}

func (s *session) setCaps(names []string) {
	s.caps = make(map[string]bool, len(names))
	for _, name := range names {
		name = strings.ToUpper(name)
		if !slices.Contains(s.cfg.NoCaps, name) {
			s.caps[name] = true
		}
	}
}

// onCaps takes capabilities from an untagged response.
func (s *session) onCaps(resp []byte) bool {
	kind, _, rest, ok := splitUntagged(resp)
	if !ok || !equalFold(kind, "CAPABILITY") {
		return false
	}
	s.setCaps(strings.Fields(string(rest)))
	return true
}

// needCaps asks for the capabilities, unless they are known.
func (s *session) needCaps() error {
	if s.caps != nil {
		return nil
	}
	status, err := s.wire.run(-1, s.onCaps, Raw("CAPABILITY"))
	switch {
	case err != nil:
		return lostError("capability", err)
	case status.Type != "OK":
		return classify("capability", status)
	case s.caps == nil:
		return lostError("capability", protocolf("no answer to CAPABILITY"))
	}
	return nil
}

// mechanism picks how to log in. There is no fallback when it is refused later.
func (s *session) mechanism() (string, error) {
	offers := func(mech string) bool { return s.caps["AUTH="+mech] }
	login := !s.caps["LOGINDISABLED"]
	switch mech := strings.ToUpper(s.cfg.Auth.Mechanism); {
	case mech == "" && offers("PLAIN"):
		return "PLAIN", nil
	case mech == "" && s.cfg.Auth.AuthzID == "", mech == "LOGIN":
		if login {
			return "LOGIN", nil
		}
		if offers("LOGIN") {
			return "AUTH=LOGIN", nil
		}
	case mech == "PLAIN" && offers(mech), mech == "XOAUTH2" && offers(mech), mech == "OAUTHBEARER" && offers(mech):
		return mech, nil
	}
	var offered []string
	for name := range s.caps {
		if mech, ok := strings.CutPrefix(name, "AUTH="); ok {
			offered = append(offered, mech)
		}
	}
	slices.Sort(offered)
	e := &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindLogin, Op: "login", Err: fmt.Errorf("the server does not offer this way to log in, but: %s", strings.Join(offered, " "))}
	if len(offered) == 0 {
		e.Err = errors.New("the server offers no way to log in on this connection")
	}
	switch {
	case offers("XOAUTH2") || offers("OAUTHBEARER"):
		e.Hint = HintOAuth
	case s.caps["LOGINDISABLED"] && s.cfg.TLS == TLSNone && s.tunnel == nil:
		e.Hint = "the server takes no login without TLS"
	}
	return "", e
}

// login logs in. What it learns of the server's capabilities takes the place of
// what was known before.
func (s *session) login(ctx context.Context) error {
	mech, err := s.mechanism()
	if err != nil {
		return err
	}
	auth := s.cfg.Auth
	secret, err := s.secret(ctx)
	if err != nil {
		return err
	}
	if strings.ContainsAny(auth.User+auth.AuthzID+secret, "\r\n\x00") || auth.User == "" {
		e := usage("user name or password is empty or holds a line end or NUL")
		e.Op = "login"
		return e
	}
	before := s.caps
	s.caps = nil
	var status Status
	var said string
	if mech == "LOGIN" {
		s.wire.trace.hide(secret)
		status, err = s.plainLogin(before, auth.User, secret)
	} else {
		x := s.newExchange(mech, auth, secret)
		s.wire.trace.hide(secret, x.blobs...)
		status, err = s.authenticate(before["SASL-IR"], x)
		said = x.said
	}
	if err != nil {
		return lostError("login", err)
	}
	if status.Type != "OK" {
		if said != "" {
			status.Text += " (" + said + ")"
		}
		status.Text = s.wire.trace.redact(status.Text)
		status.CodeArgs = s.wire.trace.redact(status.CodeArgs)
		return classifyLogin(status)
	}
	s.wire.trace.forgetShort()
	s.takeCaps(status)
	return nil
}

func (s *session) secret(ctx context.Context) (string, error) {
	if s.cfg.Auth.Secret == nil {
		return "", &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: "login", Err: errors.New("there is no password")}
	}
	secret, err := s.cfg.Auth.Secret(ctx)
	if err == nil {
		return secret, nil
	}
	if _, ok := errors.AsType[*mail.Error](err); ok {
		return "", err
	}
	return "", &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindLogin, Op: "login", Err: err}
}

// plainLogin is the LOGIN command (RFC 9051, 6.2.3).
func (s *session) plainLogin(caps map[string]bool, user, secret string) (Status, error) {
	nonSync := int64(-1)
	if caps["LITERAL+"] {
		nonSync = 1 << 62
	} else if caps["LITERAL-"] {
		nonSync = 4096
	}
	w := s.wire
	c := w.register(s.onCaps)
	segments, err := encode(c.tag, nonSync, []Part{Raw("LOGIN"), Str(user), Str(secret)})
	if err != nil {
		w.settle(c, nil)
		return Status{}, err
	}
	if err := w.send(c, segments, c.tag+" LOGIN [credentials]"); err != nil {
		return Status{}, err
	}
	return w.finish(c)
}

// exchange is one run of a SASL mechanism (RFC 4422).
type exchange struct {
	name    string
	initial string
	// answer answers the challenge that is not for the initial response.
	answer func(challenge string) string
	blobs  []string // what goes over the wire with the secret in it
	said   string   // the server's reason, where the mechanism carries one
}

func (s *session) newExchange(mech string, auth Auth, secret string) *exchange {
	x := &exchange{name: mech}
	switch mech {
	case "PLAIN": // RFC 4616
		x.initial = auth.AuthzID + "\x00" + auth.User + "\x00" + secret
	case "AUTH=LOGIN": // two questions, whose wording differs
		x.name = "LOGIN"
		answers := []string{auth.User, secret}
		x.answer = func(string) string {
			if len(answers) == 0 {
				return ""
			}
			next := answers[0]
			answers = answers[1:]
			return next
		}
	case "XOAUTH2":
		x.initial = "user=" + auth.User + "\x01auth=Bearer " + secret + "\x01\x01"
		x.answer = x.refusal("")
	case "OAUTHBEARER": // RFC 7628, 3.1 and 3.2.3
		authzID := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(auth.User)
		x.initial = "n,a=" + authzID + ",\x01"
		if host, port, err := net.SplitHostPort(s.cfg.Addr); err == nil {
			x.initial += "host=" + host + "\x01port=" + port + "\x01"
		}
		x.initial += "auth=Bearer " + secret + "\x01\x01"
		x.answer = x.refusal("\x01")
	}
	x.blobs = []string{x.initial}
	return x
}

// refusal keeps the reason that comes as a challenge, and answers it so that the
// server goes on to its NO.
func (x *exchange) refusal(answer string) func(string) string {
	return func(challenge string) string {
		if len(challenge) > 500 {
			challenge = challenge[:500]
		}
		x.said = challenge
		return answer
	}
}

// maxChallenges bounds an exchange.
const maxChallenges = 8

// authenticate runs an exchange (RFC 9051, 6.2.2).
func (s *session) authenticate(inOne bool, x *exchange) (Status, error) {
	w := s.wire
	if err := w.takeTurn(); err != nil {
		return Status{}, err
	}
	defer w.giveTurn()
	c := w.register(s.onCaps)
	line := c.tag + " AUTHENTICATE " + x.name
	shown := line
	initial := x.initial != ""
	if initial && inOne {
		line += " " + base64.StdEncoding.EncodeToString([]byte(x.initial))
		shown += " [credentials]"
		initial = false
	}
	for range maxChallenges {
		w.trace.line("C", []byte(shown))
		c.awaits.Store(true)
		if _, err := w.dst.WriteString(line + "\r\n"); err != nil {
			return Status{}, w.broken(err)
		}
		if err := w.push(); err != nil {
			return Status{}, err
		}
		more, challenge, err := w.await(c, true)
		if err != nil || !more {
			return c.status, err
		}
		answer := x.initial
		switch {
		case initial:
			initial = false
		case x.answer == nil:
			return Status{}, w.broken(protocolf("a challenge that the mechanism does not have"))
		default:
			// A challenge that is no BASE64 is one without content.
			decoded, _ := base64.StdEncoding.DecodeString(challenge)
			answer = x.answer(string(decoded))
		}
		line, shown = base64.StdEncoding.EncodeToString([]byte(answer)), "[credentials]"
	}
	return Status{}, w.broken(protocolf("login without an end"))
}

// idParts is the ID command (RFC 2971). Values that would need a literal are
// left out.
func idParts(fields map[string]string) []Part {
	parts := []Part{Raw("ID (")}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if value := fields[name]; quotable(name) && quotable(value) && len(name) <= 30 {
			parts = append(parts, Str(name), Str(value))
		}
	}
	return append(parts, Raw(")"))
}

// maxIDFields is how many fields RFC 2971, 3.3 allows.
const maxIDFields = 30

// takeID takes the server's reply to ID.
func (c *Conn) takeID(resp []byte) bool {
	r, ok := parseResponse(append([]byte(nil), resp...))
	if !ok || r.Kind != "ID" {
		return false
	}
	if len(r.Tokens) == 1 && r.Tokens[0].Kind == List {
		c.serverID = make(map[string]string)
		fields := r.Tokens[0].List
		for i := 0; i+1 < len(fields) && i < 2*maxIDFields; i += 2 {
			if !fields[i+1].IsNIL() {
				c.serverID[strings.ToLower(fields[i].Text())] = fields[i+1].Text()
			}
		}
	}
	return true
}

// takeEnabled takes the answer to ENABLE (RFC 5161). QRESYNC brings CONDSTORE
// with it (RFC 7162, 3.2.3).
func (c *Conn) takeEnabled(resp []byte) bool {
	kind, _, rest, ok := splitUntagged(resp)
	if !ok || !equalFold(kind, "ENABLED") {
		return false
	}
	if c.enabled == nil {
		c.enabled = make(map[string]bool)
	}
	for name := range strings.FieldsSeq(strings.ToUpper(string(rest))) {
		c.enabled[name] = true
		if name == "QRESYNC" {
			c.enabled["CONDSTORE"] = true
		}
	}
	return true
}
