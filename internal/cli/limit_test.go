package cli

import (
	"bytes"
	"io"
	"net"
	gosync "sync"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	t.Parallel()
	const perSecond, total = 400_000, 200_000 // half a second in all
	r := &rate{perSecond: perSecond}
	start := time.Now()
	var wg gosync.WaitGroup
	for range 2 {
		near, far := net.Pipe()
		c := r.limit(near)
		payload := bytes.Repeat([]byte("x"), total/4)
		wg.Go(func() {
			if n, err := c.Write(payload); n != len(payload) || err != nil {
				t.Errorf("write: got %d, %v", n, err)
			}
			got, err := io.ReadAll(io.LimitReader(c, int64(len(payload))))
			if len(got) != len(payload) || err != nil {
				t.Errorf("read: got %d, %v", len(got), err)
			}
			c.Close()
		})
		wg.Go(func() {
			io.CopyN(io.Discard, far, int64(len(payload)))
			far.Write(payload)
			far.Close()
		})
	}
	wg.Wait()
	took := time.Since(start)
	if want := 300 * time.Millisecond; took < want {
		t.Errorf("%d octets at %d a second took %v, want more than %v", total, perSecond, took, want)
	}
	if took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// A connection that is closed does not sit out its wait.
func TestRateWhenClosed(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	go io.Copy(io.Discard, far)
	c := (&rate{perSecond: 1}).limit(near)
	done := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 100))
		done <- err
	}()
	time.Sleep(10 * time.Millisecond)
	c.Close()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(5 * time.Second):
		t.Error("Write still waits")
	}
	far.Close()
}
