// Package maildir makes a tree of Maildirs on the local disk a mail.Store:
// tolerant in what it reads, strict and durable in what it writes.
//
// What it promises:
//
//   - A message becomes visible in cur/ or new/ only when all of it is durable,
//     and no operation ever replaces a file that may hold a message.
//   - Reading changes nothing: no rename from new/ to cur/, no time, no file.
//   - A message counts as gone only when two complete scans, one of them quiet,
//     did not find it (see changes.go).
//   - The wire form of every message that it stored can be had back from the file
//     and its name alone (see lines.go).
//   - Nothing is created, opened or removed outside the root, and no symbolic
//     link is followed.
//   - What is taken away goes to a retention area first, from where it can be put
//     back (see trash.go).
//
// Messages are named by the key of their file: the file name up to the info
// part. Two files with one key are named "KEY:#N", N being the inode number in
// base 36: no key holds a colon. Both then get such a name, so that neither is
// ever taken for the other when one of them goes.
//
// Beside the mailboxes a tree holds the state directory (".postbag"; "postbag" in
// a Maildir++ tree, where a leading dot means a mailbox) with the marker that
// proves the tree to be itself, and in each mailbox that postbag made the file
// ".postbag-id" ("postbag-id") with its identity. Dovecot, mutt and mu take no
// notice; notmuch wants "new.ignore=.postbag", or it indexes what was removed.
package maildir
