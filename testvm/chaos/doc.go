// Package chaos contains only tests: they inject random faults into a real system with a
// real redis, while a client writes to redis over one connection. Processes are killed and
// stopped, file systems filled, bundles broken, services swapped, also for versions that
// fail, and keelson's own programs. The system runs in namespaces on the host's
// kernel, or in a machine.
//
// A target is the difference between the two; both share the faults, the checks and the
// client. The faults and the pauses between them are chosen from a seed, which a failure
// names; the same seed repeats them, apart from the timing of the system.
//
// No fault may stop redis or break the connection. After every few faults each service runs
// once, as the version that is current on the disk. At the end every service runs as its
// bundle says, redis has every acknowledged write, and the logs have every line once. No
// process, mount, file, cgroup or record in containerd's database is left over, and no
// process that kept running has grown.
//
// Faults that would harm the host are excluded: no memory, and on the host's kernel a clock
// that jumps.
package chaos
