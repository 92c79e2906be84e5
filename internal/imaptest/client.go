package imaptest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"postbag/internal/mail"
)

// Target says where an account is.
type Target struct {
	Addr     string // host:port
	TLS      bool   // implicit TLS
	CA       []byte // PEM of the authority to trust
	User     string
	Password string
	// Prefix and Delimiter say how the server writes names ("INBOX." and "."). When
	// they are given, names here are with "/" and without the prefix, as everywhere
	// else; when not, names are as the server has them.
	Prefix, Delimiter string
}

// wire is the server's form of a name, before it is encoded.
func (t Target) wire(name string) string {
	if name == "INBOX" || t.Delimiter == "" {
		return name
	}
	return t.Prefix + strings.ReplaceAll(name, "/", t.Delimiter)
}

// local is the inverse of wire.
func (t Target) local(name string) string {
	if t.Delimiter == "" || strings.EqualFold(name, "INBOX") {
		return name
	}
	return strings.ReplaceAll(strings.TrimPrefix(name, t.Prefix), t.Delimiter, "/")
}

// Via is the target as seen through a proxy.
func (t Target) Via(p *Proxy) Target {
	t.Addr = p.Addr()
	return t
}

// Client is a bare IMAP connection for looking at a server and for playing the
// other client. It is slow to forgive: whatever it does not expect is an error.
// It is used by one goroutine at a time.
type Client struct {
	// Timeout bounds each read and write that makes no progress; 20 s when 0.
	Timeout time.Duration

	target Target
	conn   net.Conn
	r      *bufio.Reader
	tag    int
	caps   []string // what CAPABILITY said, once it was asked
}

// StatusError is a tagged NO or BAD.
type StatusError struct{ Command, Reply string }

// Error is the server's reply.
func (e *StatusError) Error() string { return fmt.Sprintf("%s: %s", e.Command, e.Reply) }

// Dial connects, reads the greeting and logs in. The caller closes the client.
func Dial(t Target) (*Client, error) {
	conn, err := net.DialTimeout("tcp", t.Addr, 10*time.Second)
	if err != nil {
		return nil, fmt.Errorf("raw client: %w", err)
	}
	if t.TLS {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(t.CA)
		conn = tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12})
	}
	c := &Client{target: t, conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	if err := c.login(t); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Client) login(t Target) error {
	greeting, err := c.response(nil)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(greeting.Text, "* OK") {
		return fmt.Errorf("raw client: greeting %q", greeting.Text)
	}
	_, err = c.Do("LOGIN " + Quote(t.User) + " " + Quote(t.Password))
	return err
}

// Name is a mailbox as an argument of a command: in the server's form, encoded
// and quoted.
func (c *Client) Name(name string) string { return Quote(EncodeName(c.target.wire(name))) }

// Offers reports whether the server offers a capability.
func (c *Client) Offers(capability string) bool {
	if c.caps == nil {
		c.caps = []string{""}
		lines, err := c.Do("CAPABILITY")
		for _, r := range lines {
			if caps, ok := strings.CutPrefix(r.Text, "* CAPABILITY "); ok && err == nil {
				c.caps = strings.Fields(caps)
			}
		}
	}
	return slices.ContainsFunc(c.caps, func(have string) bool { return strings.EqualFold(have, capability) })
}

// Append uploads a message, as any server takes it.
func (c *Client) Append(mailbox string, flags mail.Flags, date time.Time, raw []byte) error {
	plus := ""
	if c.Offers("LITERAL+") {
		plus = "+"
	}
	_, err := c.DoLiteral(fmt.Sprintf("APPEND %s (%s) %s {%d%s}", c.Name(mailbox), flags, quoteDate(date), len(raw), plus), raw, "")
	return err
}

func quoteDate(at time.Time) string { return Quote(at.Format("_2-Jan-2006 15:04:05 -0700")) }

// Close closes the connection without a LOGOUT.
func (c *Client) Close() error { return c.conn.Close() }

// Response is one response of the server: Text is the line with each literal
// left out, that is with "{n}" where it was; Literals are the literals in order.
type Response struct {
	Text     string
	Literals [][]byte
}

// literalFunc reads a literal of size octets from r, and what it answers is
// kept. before is the text of the response so far.
type literalFunc func(before string, size int64, r io.Reader) ([]byte, error)

// Do sends a command and collects the untagged responses until its tagged one.
// A NO or BAD is a *StatusError, with the responses that came before.
func (c *Client) Do(command string) ([]Response, error) { return c.do(command, nil, nil) }

// DoLiteral is Do for a command whose text ends in a literal, "{n+}" or "{n}"
// already in it; rest follows the literal and ends the command.
func (c *Client) DoLiteral(command string, literal []byte, rest string) ([]Response, error) {
	return c.do(command, func() error {
		if !strings.HasSuffix(command, "+}") {
			if line, err := c.response(nil); err != nil {
				return err
			} else if !strings.HasPrefix(line.Text, "+") {
				return &StatusError{command, line.Text}
			}
		}
		if err := c.write(literal); err != nil {
			return err
		}
		return c.write([]byte(rest + "\r\n"))
	}, nil)
}

func (c *Client) do(command string, more func() error, lit literalFunc) ([]Response, error) {
	c.tag++
	tag := "R" + strconv.Itoa(c.tag)
	if err := c.write([]byte(tag + " " + command + "\r\n")); err != nil {
		return nil, err
	}
	if more != nil {
		if err := more(); err != nil {
			return nil, err
		}
	}
	var out []Response
	for {
		r, err := c.response(lit)
		if err != nil {
			return out, err
		}
		status, done := strings.CutPrefix(r.Text, tag+" ")
		switch {
		case !done:
			out = append(out, r)
		case strings.HasPrefix(status, "OK"):
			return append(out, r), nil
		default:
			return out, &StatusError{command, status}
		}
	}
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return 20 * time.Second
}

func (c *Client) write(p []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.timeout())); err != nil {
		return fmt.Errorf("raw client: %w", err)
	}
	if _, err := c.conn.Write(p); err != nil {
		return fmt.Errorf("raw client: %w", err)
	}
	return nil
}

// Read makes the connection's deadline one of progress.
func (c *Client) Read(p []byte) (int, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.timeout())); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// response reads one response with its literals.
func (c *Client) response(lit literalFunc) (Response, error) {
	var out Response
	for {
		line, err := c.line()
		if err != nil {
			return out, fmt.Errorf("raw client: after %q: %w", out.Text, err)
		}
		out.Text += line
		size, ok := literalSize(line)
		if !ok {
			return out, nil
		}
		body := io.LimitReader(c, size)
		var data []byte
		if lit != nil {
			data, err = lit(out.Text, size, body)
		} else {
			data, err = io.ReadAll(body)
		}
		if err == nil && body.(*io.LimitedReader).N > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return out, fmt.Errorf("raw client: literal of %d octets: %w", size, err)
		}
		out.Literals = append(out.Literals, data)
	}
}

// line reads a line, without its CRLF.
func (c *Client) line() (string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.timeout())); err != nil {
		return "", err
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

// literalSize finds "{n}", "{n+}" or "{n-}" at the end of a line.
func literalSize(line string) (int64, bool) {
	if !strings.HasSuffix(line, "}") {
		return 0, false
	}
	i := strings.LastIndexByte(line, '{')
	if i < 0 {
		return 0, false
	}
	digits := strings.TrimRight(line[i+1:len(line)-1], "+-")
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && n >= 0
}
