package maildir

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"
)

// memFS is a file system in memory that remembers every change in order, and
// which of them were made durable: from its log follow all states that a loss of
// power may leave. The model is that of a journalling file system with as few
// promises as POSIX allows: what was not synced may be lost or kept, each change
// by itself and in any order; a rename is one change; a file's name and its
// content are two.
type memFS struct {
	mu      sync.Mutex
	nodes   map[int]*node
	next    int
	log     []record
	now     time.Time
	flushes bool // Flush works
	// before is called ahead of every change and may refuse it.
	before func(op string) error
}

// node is a file or a directory. Node 1 is the root.
type node struct {
	dir     bool
	data    []byte
	entries map[string]int
	mtime   time.Time
	ctime   time.Time
}

// record is one entry of the log: a change, or a sync that makes earlier changes
// durable.
type record struct {
	op string
	// A change of names: each entry of set is (directory, name) -> node, 0 for
	// none.
	set []binding
	// A change of content or time of a node.
	node  int
	write []byte
	at    int64
	trunc bool
	time  *time.Time
	// A sync: of one node's content, of one directory's names, or of everything.
	syncFile, syncDir int
	syncAll           bool
}

type binding struct {
	dir  int
	name string
	node int
}

func newMemFS() *memFS {
	f := &memFS{nodes: map[int]*node{}, now: time.Now(), flushes: true}
	f.next = 1
	f.make(true)
	return f
}

func (f *memFS) make(dir bool) int {
	n := f.next
	f.next++
	f.nodes[n] = &node{dir: dir, entries: map[string]int{}, mtime: f.now, ctime: f.now}
	return n
}

// do logs and applies a record. The caller holds the lock.
func (f *memFS) do(r record) error {
	if f.before != nil {
		if err := f.before(r.op); err != nil {
			return err
		}
	}
	f.log = append(f.log, r)
	f.apply(r)
	return nil
}

func (f *memFS) apply(r record) {
	f.now = f.now.Add(time.Microsecond)
	for _, b := range r.set {
		d := f.nodes[b.dir]
		if b.node == 0 {
			delete(d.entries, b.name)
		} else {
			d.entries[b.name] = b.node
		}
		d.mtime = f.now
	}
	n := f.nodes[r.node]
	switch {
	case r.write != nil:
		if need := int(r.at) + len(r.write); need > len(n.data) {
			n.data = append(n.data, make([]byte, need-len(n.data))...)
		}
		copy(n.data[r.at:], r.write)
		n.mtime, n.ctime = f.now, f.now
	case r.trunc:
		n.data = n.data[:r.at]
	case r.time != nil:
		n.mtime, n.ctime = *r.time, f.now
	}
}

// durable tells for each record of the log up to end whether it is certain to
// survive.
func durable(log []record, end int) []bool {
	out := make([]bool, end)
	for i, s := range log[:end] {
		for j := range log[:i] {
			c := &log[j]
			switch {
			case s.syncAll:
				out[j] = true
			case s.syncFile != 0 && c.node == s.syncFile:
				out[j] = true
			case s.syncDir != 0:
				for _, b := range c.set {
					out[j] = out[j] || b.dir == s.syncDir
				}
			}
		}
	}
	return out
}

// crashed is the file system after a loss of power when only the records that
// keep tells were written. base is the state before the log.
func (f *memFS) crashed(base *memFS, keep func(i int) bool, end int) *memFS {
	out := base.clone()
	for id, n := range f.nodes { // nodes made since: empty until a write is kept
		if out.nodes[id] == nil {
			out.nodes[id] = &node{dir: n.dir, entries: map[string]int{}, mtime: base.now, ctime: base.now}
		}
	}
	out.next, out.now, out.flushes = f.next, f.now, f.flushes
	for i, r := range f.log[:end] {
		if keep(i) {
			out.apply(r)
		}
	}
	return out
}

func (f *memFS) clone() *memFS {
	out := &memFS{nodes: map[int]*node{}, next: f.next, now: f.now, flushes: f.flushes}
	for id, n := range f.nodes {
		c := *n
		c.data, c.entries = bytes.Clone(n.data), maps.Clone(n.entries)
		out.nodes[id] = &c
	}
	return out
}

func (f *memFS) OpenRoot(string) (Dir, error) { return &memDir{f, 1}, nil }
func (f *memFS) MakeRoot(string) error        { return fs.ErrExist }

type memDir struct {
	fs *memFS
	id int
}

func (d *memDir) node() *node { return d.fs.nodes[d.id] }

func (d *memDir) lookup(name string) (int, *node, error) {
	if err := checkName(name); err != nil {
		return 0, nil, err
	}
	id := d.node().entries[name]
	if id == 0 {
		return 0, nil, &fs.PathError{Op: "lookup", Path: name, Err: fs.ErrNotExist}
	}
	return id, d.fs.nodes[id], nil
}

func (d *memDir) OpenDir(name string) (Dir, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	id, n, err := d.lookup(name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, errNotDir
	}
	return &memDir{d.fs, id}, nil
}

func (d *memDir) Open(name string) (File, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	id, n, err := d.lookup(name)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, errNotRegular
	}
	return &memOpen{fs: d.fs, id: id}, nil
}

func (d *memDir) stat(id int) Stat {
	n := d.fs.nodes[id]
	st := Stat{Dev: 1, Ino: uint64(id), Size: int64(len(n.data)), Mode: 0o600, Mtime: n.mtime, Ctime: n.ctime, UID: -1, Local: true}
	if n.dir {
		st.Mode = 0o700 | fs.ModeDir
	}
	return st
}

func (d *memDir) Lstat(name string) (Stat, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	id, _, err := d.lookup(name)
	if err != nil {
		return Stat{}, err
	}
	return d.stat(id), nil
}

func (d *memDir) Stat() (Stat, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	return d.stat(d.id), nil
}

func (d *memDir) Names(fn func([]byte, fs.FileMode) error) error {
	d.fs.mu.Lock()
	var names []string
	types := map[string]fs.FileMode{}
	for name, id := range d.node().entries {
		names = append(names, name)
		if d.fs.nodes[id].dir {
			types[name] = fs.ModeDir
		}
	}
	d.fs.mu.Unlock()
	slices.Sort(names)
	for _, name := range names {
		if err := fn([]byte(name), types[name]); err != nil {
			return err
		}
	}
	return nil
}

func (d *memDir) Close() error { return nil }

func (d *memDir) create(op, name string, dir bool) (int, error) {
	if _, _, err := d.lookup(name); err == nil {
		return 0, &fs.PathError{Op: op, Path: name, Err: fs.ErrExist}
	}
	if err := checkName(name); err != nil {
		return 0, err
	}
	id := d.fs.make(dir)
	return id, d.fs.do(record{op: op, set: []binding{{d.id, name, id}}})
}

func (d *memDir) Create(name string) (File, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	id, err := d.create("create", name, false)
	if err != nil {
		return nil, err
	}
	return &memOpen{fs: d.fs, id: id}, nil
}

func (d *memDir) Mkdir(name string) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	_, err := d.create("mkdir", name, true)
	return err
}

func (d *memDir) Rename(name string, to Dir, newName string) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	dst := to.(*memDir)
	id, _, err := d.lookup(name)
	if err != nil {
		return err
	}
	if _, _, err := dst.lookup(newName); err == nil {
		return &fs.PathError{Op: "rename", Path: newName, Err: fs.ErrExist}
	}
	return d.fs.do(record{op: "rename", set: []binding{{d.id, name, 0}, {dst.id, newName, id}}})
}

func (d *memDir) Link(name string, to Dir, newName string) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	dst := to.(*memDir)
	id, _, err := d.lookup(name)
	if err != nil {
		return err
	}
	if _, _, err := dst.lookup(newName); err == nil {
		return &fs.PathError{Op: "link", Path: newName, Err: fs.ErrExist}
	}
	return d.fs.do(record{op: "link", set: []binding{{dst.id, newName, id}}})
}

func (d *memDir) Replace(name, newName string) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	id, _, err := d.lookup(name)
	if err != nil {
		return err
	}
	return d.fs.do(record{op: "replace", set: []binding{{d.id, name, 0}, {d.id, newName, id}}})
}

func (d *memDir) Remove(name string) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	_, n, err := d.lookup(name)
	if err != nil {
		return err
	}
	if len(n.entries) > 0 {
		return fmt.Errorf("%q is not empty", name)
	}
	return d.fs.do(record{op: "remove", set: []binding{{d.id, name, 0}}})
}

func (d *memDir) SetTime(name string, t time.Time) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	id, _, err := d.lookup(name)
	if err != nil {
		return err
	}
	return d.fs.do(record{op: "settime", node: id, time: &t})
}

func (d *memDir) Sync() error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	return d.fs.do(record{op: "sync directory", syncDir: d.id})
}

func (d *memDir) CanFlush() bool { return d.fs.flushes }

func (d *memDir) Flush() error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	return d.fs.do(record{op: "flush", syncAll: true})
}

// memOpen is an open file.
type memOpen struct {
	fs  *memFS
	id  int
	pos int64
}

func (f *memOpen) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *memOpen) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	data := f.fs.nodes[f.id].data
	if off >= int64(len(data)) {
		return 0, io.EOF
	}
	n := copy(p, data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memOpen) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *memOpen) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if err := f.fs.do(record{op: "write", node: f.id, write: bytes.Clone(p), at: off}); err != nil {
		if short, ok := err.(shortWrite); ok {
			n := min(int(short), len(p)-1)
			return n, f.fs.do(record{op: "short write", node: f.id, write: bytes.Clone(p[:n]), at: off})
		}
		return 0, err
	}
	return len(p), nil
}

// shortWrite makes a write take fewer octets, without an error.
type shortWrite int

func (shortWrite) Error() string { return "short write" }

func (f *memOpen) Seek(off int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, fs.ErrInvalid
	}
	f.pos = off
	return off, nil
}

func (f *memOpen) Stat() (Stat, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return (&memDir{f.fs, 0}).stat(f.id), nil
}

func (f *memOpen) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.do(record{op: "truncate", node: f.id, trunc: true, at: size})
}

func (f *memOpen) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.do(record{op: "sync", syncFile: f.id})
}

func (f *memOpen) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.before != nil {
		return f.fs.before("close")
	}
	return nil
}
