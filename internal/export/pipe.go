package export

import (
	"context"
	"sync"

	"postbag/internal/mail"
	"postbag/internal/match"
)

// Messages pass through a pipeline: workers, each with the mailbox open for itself,
// read chunks of messages, take their digests and do what the format can do ahead;
// one goroutine writes the chunks in their order. The number of chunks under way is
// bounded, and with it the memory.

// write writes the messages of one mailbox.
func (r *run) write(ctx context.Context, info mail.MailboxInfo, all []listed, box *Box) error {
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	list := chunks(all)
	workers := min(r.Workers, len(list))
	queue := make(chan *chunk)
	order := make(chan *chunk, cap(r.free))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { r.work(ctx, info.Name, queue) })
	}
	wg.Go(func() {
		defer close(order)
		defer close(queue)
		for _, want := range list {
			c := <-r.free
			if err := c.reset(want); err != nil {
				cancel(err)
			}
			if ctx.Err() != nil {
				r.free <- c
				return
			}
			order <- c
			queue <- c
		}
	})
	var first error
	next := names{}
	for c := range order {
		<-c.done
		if first == nil {
			if first = c.err; first == nil {
				first = r.writeChunk(ctx, c, info, &next, box)
			}
			if first != nil {
				cancel(first)
			}
		}
		r.free <- c
	}
	wg.Wait()
	if cause := context.Cause(ctx); first == nil {
		first = cause
	}
	return first
}

// work reads chunks. The mailbox is opened when it is first needed, and anew after
// an error.
func (r *run) work(ctx context.Context, name string, queue <-chan *chunk) {
	var mb mail.Mailbox
	for c := range queue {
		left := c.want
		c.err = ctx.Err()
		if c.err == nil {
			c.err = r.again(ctx, func() (err error) {
				if mb == nil {
					if mb, err = r.Store.Examine(ctx, name); err != nil {
						return err
					}
				}
				if left, err = r.read(ctx, mb, c, name, left); err != nil {
					mb.Close()
					mb = nil
				}
				return err
			})
		}
		close(c.done)
	}
	if mb != nil {
		mb.Close()
	}
}

// read reads the messages of want into a chunk, and answers with those that it did
// not get to.
func (r *run) read(ctx context.Context, mb mail.Mailbox, c *chunk, name string, want []listed) (left []listed, err error) {
	at := make(map[mail.Ref]int, len(c.want))
	for i, l := range c.want {
		at[l.ref] = i
	}
	seen := make(map[mail.Ref]bool, len(want))
	refs := make([]mail.Ref, len(want))
	for i, l := range want {
		refs[i] = l.ref
	}
	err = mb.Fetch(ctx, refs, func(f mail.Fetched) error {
		i, ok := at[f.Ref]
		if !ok || seen[f.Ref] {
			return nil
		}
		it, err := r.receive(c, name, f)
		if err != nil {
			e := mail.AsError(err)
			if e.Scope != mail.ScopeMessage {
				return err
			}
			c.bad = append(c.bad, Problem{Mailbox: name, Ref: f.Ref, Date: f.Date, Size: f.Size, Err: e})
		}
		seen[f.Ref] = true
		c.items[i] = it
		return nil
	})
	for _, l := range want {
		if !seen[l.ref] {
			left = append(left, l)
		}
	}
	return left, err
}

// receive takes one message; nil when it is not one of those that were chosen.
func (r *run) receive(c *chunk, name string, f mail.Fetched) (*item, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	start := len(c.arena)
	body, digest, err := c.take(r.Temp, f.Body)
	if err != nil {
		return nil, err
	}
	it := &item{mailbox: name, msg: f.Message, body: body}
	it.msg.Size, it.msg.ID.Digest = body.size, digest
	if !it.msg.Date.IsZero() {
		it.msg.Date = it.msg.Date.Truncate(1e9)
	}
	head, err := body.head()
	if err != nil {
		return nil, err
	}
	if !r.Filter(it.msg) || !r.match.Flags(it.msg.Flags) || !r.headed(head) {
		c.arena = c.arena[:start]
		return nil, nil
	}
	if r.Format == Mbox {
		it.sender = sender(readFields(head, "return-path").first("return-path"))
	} else {
		it.base = baseName(it.msg.Date, match.Subject(head), digest)
	}
	c.enc, err = r.out.prepare(it, c.enc)
	return it, outError(err)
}

// headed reports whether a message is chosen by its header.
func (r *run) headed(head []byte) bool {
	if !r.match.NeedsHeader() {
		return true
	}
	h := match.Parse(head)
	return r.match.Header(&h)
}

// writeChunk writes what a chunk holds.
func (r *run) writeChunk(ctx context.Context, c *chunk, info mail.MailboxInfo, next *names, box *Box) error {
	for _, p := range c.bad {
		r.problem(p)
	}
	for i, it := range c.items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if it == nil {
			r.Progress.Expect(-1, -max(c.want[i].size, 0))
			continue
		}
		if err := r.begin(info); err != nil {
			return err
		}
		if it.base != "" {
			it.base = next.of(it)
		}
		where, err := r.out.add(it)
		if err == nil {
			err = r.manifest.message(where, it)
		}
		if err != nil {
			return outError(err)
		}
		box.Messages++
		box.Bytes += it.msg.Size
		r.Progress.Done(1, it.msg.Size)
	}
	return nil
}
