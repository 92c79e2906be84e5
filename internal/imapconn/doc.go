// Package imapconn is one IMAP connection (RFC 3501, RFC 9051): it dials,
// encrypts, logs in, and runs commands. It stands between the network and the
// library github.com/emersion/go-imap/v2, which carries message bodies:
//
//	TCP or tunnel -> TLS -> [DEFLATE] -> wire -> imapclient
//
// The wire frames everything that the server sends. It answers commands of its
// own, whose tags begin with "P", hands the library a cleaned stream with the
// responses to the library's commands (tags beginning with "T"), and drops what
// nobody asked for. What it guarantees:
//
//   - Every length is bounded: a line, a string, a set, a response, the time in
//     which no byte moves while somebody waits.
//   - An odd response costs at most the item, the message or the mailbox that it
//     speaks of. What desynchronises the stream costs the connection, with an
//     error that says so.
//   - A body counts only when all of its octets came and its response ended as it
//     should; io.EOF from its reader is the proof.
//   - Nothing learned before TLS is believed after it, and nothing but
//     CAPABILITY, STARTTLS and LOGOUT is sent before it.
//   - Credentials appear in no error and no trace, even when the server repeats
//     them.
//   - Cancelling a context, Abort and Close end every wait; the reading goroutine
//     ends with the connection.
package imapconn
