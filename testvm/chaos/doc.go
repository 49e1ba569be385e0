// Package chaos has tests only: a real system with a real redis, in which things
// are killed, stopped, filled and broken at random while a client writes to
// redis over one connection. It runs in namespaces on the host's kernel, and in
// a machine.
//
// A target is what differs between the two; faults, checks and the client are
// written once. The faults and the pauses between them come from a seed, which a
// failure names; it repeats them as far as the machine's own timing does.
//
// Whatever is killed, redis goes on: the connection is never lost. In the end
// every service is up as its bundle says, every acknowledged write is there, and
// every line that was logged, once. No process, mount, file, cgroup or record of
// containerd's is left over, and nothing that lives on has grown.
//
// Not among the faults are those of which the machine that runs the test would
// suffer: its clock, which only a machine's own is set, and its memory.
package chaos
