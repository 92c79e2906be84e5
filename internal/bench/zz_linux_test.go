package bench
import ("testing";"os/exec";"os";"time";"postbag/internal/imaptest")
func BenchmarkZZ(b *testing.B) {
	s := newScene(b, imaptest.DovecotOptions{})
	n := s.fill(spread(2000, 5))
	full := s.tree("full")
	s.mbsync(full, false).must(b)
	far := imaptest.StartProxy(b, s.dovecot.TLSAddr())
	far.RTT(40*time.Millisecond)
	s.addr = far.Addr()
	for b.Loop() {
	c := s.push(full, func(tree string) command { c := s.backup(tree); c.Args[0]="sync"; return c })
	c.Args = append(c.Args, "--trace", "/tmp/upload.trace")
	os.Remove("/tmp/upload.trace")
	settle(b)
	args := append([]string{"-f","-r", "-tt","-s","120","-o","/tmp/upload.strace","-e","trace=write,fsync,fdatasync,syncfs,openat", c.Path}, c.Args...)
	p := exec.Command("strace", args...)
	p.Env = append(os.Environ(), c.Env...)
	out, err := p.CombinedOutput()
	b.Logf("%s %v", out, err)
	s.received(n)
	}
}
