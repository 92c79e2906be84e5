//go:build !linux

package imapconn

import "net"

// unsentBytes is how much of what was written to a TCP connection has not been
// acknowledged by the peer; 0 when that cannot be told, as here.
func unsentBytes(net.Conn) int { return 0 }
