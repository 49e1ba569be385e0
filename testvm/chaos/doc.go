// Package chaos has one test: a real system with a real redis, booted in
// namespaces on the host's kernel, in which things are killed, stopped, filled
// and broken at random while a client writes to redis over one connection.
//
// The faults and the pauses between them come from a seed, which a failure
// names; -chaos.seed repeats it, as far as the machine's own timing does.
// `make chaos` makes 10 000 of them, FAULTS=300 as many as that.
//
// Whatever is killed, redis goes on: the connection is never lost. In the end
// every service is up, every acknowledged write is there, every line that was
// logged is there once, and no process and no file descriptor is left over.
//
// Not among the faults are those of which the machine that runs the test would
// suffer: the clock, which namespaces share, and the kernel's memory.
package chaos
