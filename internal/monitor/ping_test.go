package monitor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// service is one that waits for pings. It answers with the status codes of answers,
// one after another, and then with 200.
type service struct {
	*httptest.Server
	mu      sync.Mutex
	answers []int
	got     []string // method, URL and body
}

func serve(t *testing.T, answers ...int) *service {
	s := &service{answers: answers}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, fmt.Sprintf("%s %s %s", r.Method, r.URL, body))
		if len(s.answers) > 0 {
			w.Header().Set("Location", s.URL+"/elsewhere/s3cret")
			w.WriteHeader(s.answers[0])
			s.answers = s.answers[1:]
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func newPinger(t *testing.T, url string) *Pinger {
	t.Helper()
	p, err := NewPinger(url, "postbag/test")
	if err != nil {
		t.Fatal(err)
	}
	p.pause = 0
	return p
}

// The service is told of the start and of the end, below the URL that it gave.
func TestPing(t *testing.T) {
	t.Parallel()
	s := serve(t)
	p := newPinger(t, s.URL+"/ping/s3cret?rid=1")
	ctx := context.Background()
	for _, err := range []error{p.Start(ctx), p.End(ctx, true, "done\n"), p.End(ctx, false, "failed\n")} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{"POST /ping/s3cret/start?rid=1 ", "POST /ping/s3cret?rid=1 done\n", "POST /ping/s3cret/fail?rid=1 failed\n"}
	if !slices.Equal(s.got, want) {
		t.Errorf("got %q, want %q", s.got, want)
	}
}

// A service in trouble is tried again, one that refuses is not, and no error shows
// the URL.
func TestPingThatFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answers []int
		tries   int
		want    string // "" when it succeeds
	}{
		{[]int{503, 429}, 3, ""},
		{[]int{500, 502, 503, 504}, 3, "503 Service Unavailable"},
		{[]int{404}, 1, "404 Not Found"},
		{[]int{302}, 1, "302 Found"},
	} {
		s := serve(t, test.answers...)
		err := newPinger(t, s.URL+"/s3cret").End(context.Background(), true, "")
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasSuffix(err.Error(), test.want)) {
			t.Errorf("%v: got %v, want %q", test.answers, err, test.want)
		}
		if len(s.got) != test.tries {
			t.Errorf("%v: got %d tries, want %d", test.answers, len(s.got), test.tries)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: the URL is shown: %v", test.answers, err)
		}
	}
	s := serve(t)
	gone := newPinger(t, s.URL+"/s3cret")
	s.Close()
	if err := gone.Start(context.Background()); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("nobody there: got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := newPinger(t, serve(t).URL).Start(ctx); err == nil {
		t.Error("a ping after the end was sent")
	}
}
