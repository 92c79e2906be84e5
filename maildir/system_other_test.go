//go:build !unix

package maildir

func setUmask(int) (restore func()) { return func() {} }

func makeFIFO(string) {}
