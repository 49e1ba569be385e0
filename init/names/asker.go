package names

import (
	"fmt"
	"os"

	"keelson/runtime/procfs"
)

// asker returns what identifies this process until the next boot: its number, and when it was started.
func asker() string { return identity(os.Getpid()) }

// alive reports whether a process runs that asker has identified, so that it will store what it reads.
func alive(asker string) bool {
	var pid int
	if _, err := fmt.Sscanf(asker, "%d ", &pid); err != nil || pid <= 0 || procfs.Ended("/proc", pid) {
		return false
	}
	return identity(pid) == asker
}

// identity returns the number of a process and its start, without which nobody takes it for one that runs.
func identity(pid int) string {
	start, err := procfs.ReadStart("/proc", pid)
	if err != nil {
		return fmt.Sprint(pid, " ")
	}
	return fmt.Sprint(pid, " ", start)
}
