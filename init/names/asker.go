package names

import (
	"os"
	"strconv"
	"strings"

	"keelson/runtime/procfs"
)

// asker returns what identifies this process until the next boot: its number, and when it was started.
func asker() string { return strconv.Itoa(os.Getpid()) + " " + started(os.Getpid()) }

// alive reports whether a process runs that asker has identified, so that it will store what it reads.
func alive(asker string) bool {
	number, start, _ := strings.Cut(asker, " ")
	pid, err := strconv.Atoi(number)
	return err == nil && pid > 0 && start != "" && !procfs.Ended("/proc", pid) && started(pid) == start
}

// started returns when a process was started, in clock ticks since the boot, or "": field 22 of
// /proc/PID/stat (proc_pid_stat(5)). The name, which may contain anything, ends with the last ")".
func started(pid int) string {
	text := attribute("/proc", strconv.Itoa(pid), "stat")
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}
