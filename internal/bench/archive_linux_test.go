package bench

import (
	"bufio"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"postbag/internal/demo"
)

// archiveScene is a scene without a server: a Maildir with the samples, which postbag
// makes of an mbox. It answers with their number.
func archiveScene(b *testing.B, samples iter.Seq[demo.Sample]) (s *scene, mbox, tree string, n int) {
	b.Helper()
	s = &scene{b: b, dir: b.TempDir()}
	s.build()
	mbox, tree = filepath.Join(s.dir, "samples.mbox"), s.tree("samples")
	f, err := os.Create(mbox)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for one := range samples {
		// The corpus has no line that begins with "From ".
		fmt.Fprintf(w, "From a@example.org %s\n%s\n", one.Date.UTC().Format("Mon Jan _2 15:04:05 2006"), stored(one.Raw))
		n++
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		b.Fatal(err)
	}
	s.changed(s.archive("import", mbox, tree).must(b), n, 0)
	s.holds(tree, n)
	return s, mbox, tree, n
}

// archive is a command of postbag that asks no server.
func (s *scene) archive(args ...string) command {
	return command{Path: s.postbag, Env: []string{"XDG_STATE_HOME=" + s.dir}, Args: append(args, "--json")}
}

// exports compares an export with what cat takes for the same files, into one file
// that is then made durable, too.
func exports(b *testing.B, n int, ending string) {
	s, _, tree, n := archiveScene(b, spread(n, 1))
	out := ""
	contest(b, nil, contender{
		name:  "postbag",
		run:   func() command { out = s.tree("out") + ending; return s.archive("export", tree, out) },
		check: func(r result) { s.changed(r, n, 0); remove(b, out, out+".jsonl") },
	}, contender{
		name: "cat",
		run: func() command {
			out = s.tree("out") + ".cat"
			return command{Path: "/bin/sh", Args: []string{"-ec", `find "$1" -type f -path '*/cur/*' -print0 -o -type f -path '*/new/*' -print0 | xargs -0 cat >"$2"; sync "$2"`, "sh", tree, out}}
		},
		check: func(result) { remove(b, out) },
	})
}

func remove(b *testing.B, paths ...string) {
	b.Helper()
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			b.Fatal(err)
		}
	}
}

// BenchmarkExport10k writes 10,000 messages of a Maildir, 103 MB, into an archive,
// beside cat.
func BenchmarkExport10k(b *testing.B) {
	for _, ending := range []string{".mbox", ".tar", ".zip", ".tar.gz", ".tar.zst"} {
		b.Run(ending[1:], func(b *testing.B) { exports(b, 10_000, ending) })
	}
}

// BenchmarkExport100k does so with 100,000 messages, 1 GB.
func BenchmarkExport100k(b *testing.B) {
	long(b)
	for _, ending := range []string{".mbox", ".tar", ".zip", ".tar.zst"} {
		b.Run(ending[1:], func(b *testing.B) { exports(b, 100_000, ending) })
	}
}

// imports compares the import of an mbox into a new Maildir with the floor.
func imports(b *testing.B, n int) {
	spool := filepath.Join(b.TempDir(), "spool")
	s, mbox, _, n := archiveScene(b, spooled(b, spool, spread(n, 1)))
	var tree string
	contest(b, nil, contender{
		name:  "postbag",
		run:   func() command { tree = s.tree("postbag"); return s.archive("import", mbox, tree) },
		check: func(r result) { s.changed(r, n, 0); s.holds(tree, n) },
	}, contender{
		name: "floor",
		run: func() command {
			tree = s.tree("floor")
			return role("floor", spool, tree, strconv.Itoa(1))
		},
		check: func(result) { s.holds(tree, n) },
	})
}

// BenchmarkImportMbox10k imports an mbox of 10,000 messages into a new Maildir,
// beside a bare durable writer of the same messages.
func BenchmarkImportMbox10k(b *testing.B) { imports(b, 10_000) }

// BenchmarkImportMbox100k does so with 100,000 messages, 1 GB.
func BenchmarkImportMbox100k(b *testing.B) {
	long(b)
	imports(b, 100_000)
}
