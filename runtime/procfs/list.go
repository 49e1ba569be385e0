package procfs

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// PIDs returns the ids of all processes, the lowest first.
func PIDs(proc string) ([]int, error) {
	dir, err := os.Open(proc)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, err
}

// ReadArgs reads the arguments of a process, its name the first, without empty ones at
// the end: a process that sets its title pads it with zeros. There are none for a zombie
// and for a thread of the kernel.
func ReadArgs(proc string, pid int) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "cmdline"))
	args := strings.TrimRight(string(text), "\x00")
	if args == "" {
		return nil, err
	}
	return strings.Split(args, "\x00"), nil
}

// ReadStatus reads /proc/PID/status, for StatusField.
func ReadStatus(proc string, pid int) (string, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "status"))
	return string(text), err
}
