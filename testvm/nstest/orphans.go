package nstest

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/procfs"
)

const (
	orphanScan  = 100 * time.Millisecond
	orphanScans = 20 // an ended process that is still there after so many has no other parent
)

// reapOrphans reaps, as /init does, processes of containers whose parent has died: a PID
// namespace ends only after all of its processes have been reaped. Processes that a test has
// started itself are left to it: they are in the test's own PID namespace, or reaped soon.
func reapOrphans() {
	seen := map[int]int{}
	for range time.Tick(orphanScan) {
		pids, _ := procfs.PIDs("/proc")
		ended := map[int]int{}
		for _, pid := range pids {
			stat, err := procfs.ReadStat("/proc", pid)
			if err != nil || !stat.Zombie() || stat.Parent != os.Getpid() || !nested(pid) {
				continue
			}
			if ended[pid] = seen[pid] + 1; ended[pid] >= orphanScans {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
		}
		seen = ended
	}
}

// nested reports whether a process is in a PID namespace below that of /proc.
func nested(pid int) bool {
	status, err := procfs.ReadStatus("/proc", pid)
	return err == nil && len(strings.Fields(procfs.StatusField(status, "NSpid"))) > 1
}
