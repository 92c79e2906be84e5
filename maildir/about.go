package maildir

import "postbag/internal/mail"

// About is what a tree is, and what its file system can do: for a person to read.
type About struct {
	Layout Layout
	ID     string // of the marker; "" when the tree has none
	Owner  string // the account that the tree belongs to; "" when it was not told
	// Folds says that the file system takes names for one that differ in case or
	// normalisation. It is known of a tree with a marker only.
	Folds bool
	// InfoSeparator is what stands between key and flags in the name of a message.
	InfoSeparator string
	// Flushes says that one call makes a whole batch of messages durable; without it
	// each file is.
	Flushes bool
	// FineTimes says that the times of directories tell for sure when something
	// changed in them; without it they are read again for a while.
	FineTimes bool
}

// About looks at the tree, and changes nothing.
func (s *Store) About() (About, error) {
	st, err := s.root.Stat()
	if err != nil {
		return About{}, fail("open", "", mail.ScopeAccount, mail.Ref{}, err)
	}
	return About{
		Layout: s.layout, ID: s.mark.ID, Owner: s.mark.Account, Folds: s.fold, InfoSeparator: string(s.infoSep),
		Flushes: canFlush(s.root), FineTimes: st.Local,
	}, nil
}
