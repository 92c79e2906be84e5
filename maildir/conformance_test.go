package maildir_test

import (
	"path/filepath"
	"testing"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/maildir"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, layout := range []maildir.Layout{maildir.Verbatim, maildir.MaildirPP, maildir.Flat} {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, storetest.Config{Local: true, Stamps: true, Open: func(t *testing.T) mail.Store {
				s, err := maildir.Open(filepath.Join(t.TempDir(), "mail"), maildir.Options{Layout: layout, Create: true, Owner: "suite"})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				return s
			}})
		})
	}
}
