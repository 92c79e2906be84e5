package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// PingLimit is how long a ping may take, with all its tries.
const PingLimit = 10 * time.Second

// pingTries is how often a ping is tried.
const pingTries = 3

// Pinger tells a service such as healthchecks.io that runs began and ended. Its URL
// is a secret: whoever knows it can say that all is well. No error repeats more of
// it than the host.
type Pinger struct {
	url   *url.URL
	agent string
	pause time.Duration // before the second try, and twice that before the third
}

// NewPinger makes a Pinger that says agent of itself.
func NewPinger(text, agent string) (*Pinger, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the URL of a ping cannot be read") // err would repeat it
	}
	return &Pinger{u, agent, time.Second}, nil
}

// Host is the only part of the URL that may be shown.
func (p *Pinger) Host() string { return p.url.Host }

// Start tells that a run begins.
func (p *Pinger) Start(ctx context.Context) error { return p.send(ctx, "start", "") }

// End tells how a run ended, with a line of text for people.
func (p *Pinger) End(ctx context.Context, ok bool, text string) error {
	if ok {
		return p.send(ctx, "", text)
	}
	return p.send(ctx, "fail", text)
}

// send makes one request, and again when the network or the server is in trouble.
func (p *Pinger) send(ctx context.Context, below, text string) error {
	ctx, cancel := context.WithTimeout(ctx, PingLimit)
	defer cancel()
	to := p.url
	if below != "" {
		to = to.JoinPath(below)
	}
	var err error
	for try := range pingTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return p.fail(err)
			case <-time.After(time.Duration(try) * p.pause):
			}
		}
		var again bool
		if again, err = p.post(ctx, to, text); err == nil || !again {
			break
		}
	}
	return p.fail(err)
}

// post makes one request, and follows no answer to another place: it could be one
// without TLS. again says whether another try may fare better. The transport is asked
// itself, since a client puts the URL into its errors.
func (p *Pinger) post(ctx context.Context, to *url.URL, text string) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(text))
	if err != nil {
		return false, err
	}
	req.Header.Set("User-Agent", p.agent)
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return ctx.Err() == nil, err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	resp.Body.Close()
	if resp.StatusCode/100 != 2 { // its text is the server's: it could repeat the URL
		err := fmt.Errorf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
		return resp.StatusCode/100 == 5 || resp.StatusCode == http.StatusTooManyRequests, err
	}
	return false, nil
}

// fail says where a ping went, which is not all of the URL.
func (p *Pinger) fail(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no answer")
	}
	return fmt.Errorf("ping to %s: %w", p.Host(), err)
}
