package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"postbag/internal/mail"
)

// fullChild commits until the disk is full, and says which commits are done
// and how it ended.
func fullChild(arg string) int {
	path, size, _ := strings.Cut(arg, "|")
	limit, err := strconv.ParseUint(size, 10, 64)
	if err != nil {
		return 1
	}
	if err := limitFiles(limit); errors.Is(err, errors.ErrUnsupported) {
		fmt.Println("unsupported")
		return 0
	}
	db, err := Open(context.Background(), path, Options{})
	if err != nil {
		fmt.Println("failed", mail.AsError(err).Kind, err)
		return 0
	}
	n, err := crashState(db)
	for i := 0; err == nil && i < 100; i++ {
		n++
		if err = crashStep(db, n); err == nil {
			fmt.Println(n)
		}
	}
	// What can be read is as it was, on the same connection, too.
	if now, rerr := crashState(db); rerr != nil && mail.AsError(rerr).Kind != mail.KindDisk || rerr == nil && err != nil && now != n-1 {
		fmt.Println("wrong", now, rerr)
	}
	fmt.Println("failed", mail.AsError(err).Kind, err)
	_ = db.Close() // the log may not fit into the file either
	return 0
}

// TestDiskFull lets writes fail at many places.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	at := int64(0)
	for limit := 0; limit < 400_000; limit += 18_000 {
		c := startChild(t, "full", path+"|"+strconv.Itoa(limit))
		said, ended := at, false
		for {
			line, err := c.out.ReadString('\n')
			if err != nil {
				break
			}
			line = strings.TrimSpace(line)
			if line == "unsupported" {
				_ = c.cmd.Wait()
				t.Skip("no limit for files here")
			}
			if n, err := strconv.ParseInt(line, 10, 64); err == nil {
				said = n
			} else if !strings.HasPrefix(line, fmt.Sprintf("failed %d ", mail.KindDisk)) {
				t.Errorf("limit %d: got %q", limit, line)
			} else {
				ended = true
			}
		}
		if err := c.cmd.Wait(); err != nil || !ended {
			t.Errorf("limit %d: the child ended with %v", limit, err)
		}
		if _, err := os.Stat(path); err != nil {
			continue
		}
		db, err := Open(context.Background(), path, Options{})
		if err != nil {
			t.Fatalf("limit %d: %v", limit, err)
		}
		if at, err = crashState(db); err != nil || at != said {
			t.Errorf("limit %d: got step %d, %v, want %d", limit, at, err, said)
		}
		mustClose(t, db)
	}
	if at == 0 {
		t.Error("no commit got through at all")
	}
}
