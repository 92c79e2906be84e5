// Package bench measures the built program as a whole process, beside mbsync
// and beside a bare durable writer, against a private Dovecot over TLS on
// loopback. It holds benchmarks only, and nothing that the program needs.
//
// In each round every contender runs once, in an order that turns from round to
// round, on the same mail and a tree of its own; what is on its way to the disk
// is written out before the clock starts. So what the machine does meanwhile
// strikes all of them, and the ratios say more than the seconds.
//
// What is reported, with the rounds of one benchmark for sample:
//
//	NAME-s       wall time of a process from its start to its end, median
//	NAME-cpu-s   its processor time, user and system, median
//	NAME-RSS-MB  the most memory that it had resident, in 10^6 octets, maximum
//	vs-NAME      wall time of postbag through that of NAME, median of the rounds
//
// The server's own time is part of the wall times and of nothing else. A round
// counts only when every contender did what it was to do.
//
// Benchmarks that take many minutes run when POSTBAG_LONG is 1. Trees are made
// below TMPDIR, which has to be on a disk for the durable figures to mean
// anything; the server's mail is in memory where there is room.
package bench
