// Package export writes mail into archives and reads it out of them: mbox files,
// trees of eml files, zip and tar, compressed or not. There is one writer and one
// reader for each format; beside the messages goes a manifest, which keeps what a
// format has no place for.
//
// Writing takes any mail.Store and streams: memory does not depend on the number
// of messages in the archive, nor on their size. Reading makes a mail.Store of
// archives, which the engine imports from as from any other.
//
// Invariants:
//
//   - The octets of a message are never altered. What a format has to change (the
//     line ends and From lines of mbox) is undone exactly with the manifest, and
//     the SHA-256 of the wire form proves it.
//   - The same mail gives the same archive, wherever it was read from: order and
//     names follow from dates and contents, and nothing of the machine is in it.
//   - A name in an archive never leads out of the place that it is written to, and
//     none that is read is used as a path.
package export

import (
	"fmt"
	"slices"
	"strings"

	"postbag/internal/mail"
)

// Format is the form of an archive.
type Format string

// The formats.
const (
	Mbox   Format = "mbox"    // mboxrd: one file, or a folder with a file for each mailbox
	EML    Format = "eml"     // a folder of files, one for each message
	Zip    Format = "zip"     // those files in a zip
	Tar    Format = "tar"     // or in a tar
	TarGz  Format = "tar.gz"  // and that with gzip
	TarZst Format = "tar.zst" // or with zstd
)

// Formats are all formats.
var Formats = []Format{Mbox, EML, Zip, Tar, TarGz, TarZst}

// endings of file names that name a format.
var endings = []struct {
	ending string
	format Format
}{
	{".mbox", Mbox}, {".mbx", Mbox}, {".zip", Zip}, {".tar", Tar}, {".tar.gz", TarGz}, {".tgz", TarGz},
	{".tar.zst", TarZst}, {".tzst", TarZst}, {".tar.zstd", TarZst}, {".eml", EML},
}

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	if f := Format(strings.ToLower(s)); slices.Contains(Formats, f) {
		return f, nil
	}
	var names []string
	for _, f := range Formats {
		names = append(names, string(f))
	}
	return "", usage("one of "+strings.Join(names, ", "), "%q is no format", s)
}

// FormatOf is the format that a file's name asks for; "" when it asks for none.
func FormatOf(path string) Format {
	path = strings.ToLower(path)
	for _, e := range endings {
		if strings.HasSuffix(path, e.ending) {
			return e.format
		}
	}
	return ""
}

// Dialect says how an mbox file tells where a message ends and what is quoted.
type Dialect string

// The dialects. Without one, files are read as Auto.
const (
	// Auto ends a message where Content-Length says, if a From line follows there;
	// else at the next From line, and then quoting is that of mboxrd.
	Auto   Dialect = ""
	MboxO  Dialect = "mboxo"   // ">From " at the begin of a line stands for "From ", and ">>From " for itself
	MboxRD Dialect = "mboxrd"  // one ">" is taken from each line that begins with any number of them and "From "
	MboxCL Dialect = "mboxcl"  // Content-Length says where a message ends, and ">From " is quoted as in mboxrd
	CL2    Dialect = "mboxcl2" // Content-Length says where a message ends, and nothing is quoted
)

// ParseDialect reads the name of a dialect.
func ParseDialect(s string) (Dialect, error) {
	switch d := Dialect(strings.ToLower(s)); d {
	case MboxO, MboxRD, MboxCL, CL2:
		return d, nil
	}
	return Auto, usage("one of mboxo, mboxrd, mboxcl, mboxcl2", "%q is no dialect of mbox", s)
}

// usage is an error in what the user asked for.
func usage(hint, format string, args ...any) *mail.Error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Err: fmt.Errorf(format, args...), Hint: hint}
}
