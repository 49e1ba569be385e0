package procfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// DropsSignal reports whether the kernel drops a signal that is sent to a process: it
// does for the first process of a PID namespace without a handler for the signal
// (pid_namespaces(7)). A process that blocks the signal may take it with sigwaitinfo(2)
// or signalfd(2). It is false when the status cannot be read.
func DropsSignal(proc string, pid int, signal syscall.Signal) bool {
	status, err := ReadStatus(proc, pid)
	if err != nil {
		return false
	}
	drops, err := statusDrops(status, signal)
	return drops && err == nil
}

// statusDrops decides by /proc/PID/status: "NSpid:\t4711\t1" are the process ids from
// the outermost PID namespace to the innermost, "SigCgt:\t0000000000004002" is a
// hexadecimal mask whose lowest bit is signal 1.
func statusDrops(status string, signal syscall.Signal) (bool, error) {
	if signal < 1 || signal > 64 || signal == syscall.SIGKILL || signal == syscall.SIGSTOP {
		return false, nil
	}
	var taken uint64
	for _, key := range []string{"SigBlk", "SigIgn", "SigCgt"} {
		mask, err := strconv.ParseUint(StatusField(status, key), 16, 64)
		if err != nil {
			return false, fmt.Errorf("cannot parse %s in the status of a process: %w", key, err)
		}
		taken |= mask
	}
	ids := strings.Fields(StatusField(status, "NSpid"))
	first := len(ids) > 1 && ids[len(ids)-1] == "1"
	return first && taken&(1<<(signal-1)) == 0, nil
}

// Descendants returns the processes below pid, parents before children. On a kernel
// without CONFIG_PROC_CHILDREN it finds none (proc_tid_children(5)).
func Descendants(proc string, pid int) []int {
	var all []int
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		lists, _ := filepath.Glob(filepath.Join(proc, strconv.Itoa(todo[0]), "task", "*", "children"))
		for _, list := range lists {
			text, _ := os.ReadFile(list) // The thread may have ended.
			for _, word := range strings.Fields(string(text)) {
				if child, err := strconv.Atoi(word); err == nil && child > 1 && !slices.Contains(all, child) {
					all = append(all, child)
					todo = append(todo, child)
				}
			}
		}
	}
	return all
}
