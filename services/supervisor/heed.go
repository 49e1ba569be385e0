package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// deafTo tells whether signal would be lost on pid. The kernel drops one
// without a handler that is sent to the first process of a PID namespace
// (pid_namespaces(7)); who blocks it may take it by sigwait or signalfd. What
// cannot be found out is taken as heard.
func deafTo(proc string, pid int, signal syscall.Signal) bool {
	status, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return false
	}
	lost, err := drops(string(status), signal)
	return lost && err == nil
}

// descendants are the processes below pid, parents before children. Without
// CONFIG_PROC_CHILDREN there seem to be none (proc_tid_children(5)).
func descendants(proc string, pid int) []int {
	var all []int
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		lists, _ := filepath.Glob(filepath.Join(proc, strconv.Itoa(todo[0]), "task", "*", "children"))
		for _, list := range lists {
			text, _ := os.ReadFile(list) // It may have ended.
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

// drops reads /proc/PID/status (proc_pid_status(5)): "NSpid:\t4711\t1" are the
// ids from the outermost namespace to the innermost, "SigCgt:\t0000000000004002"
// is a mask in hexadecimal with signal 1 as the lowest bit.
func drops(status string, signal syscall.Signal) (bool, error) {
	if signal < 1 || signal > 64 || signal == syscall.SIGKILL || signal == syscall.SIGSTOP {
		return false, nil
	}
	first := false
	var taken uint64
	masks := 0
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "NSpid":
			ids := strings.Fields(value)
			first = len(ids) > 1 && ids[len(ids)-1] == "1"
		case "SigBlk", "SigIgn", "SigCgt":
			mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				return false, fmt.Errorf("cannot read %s of a process's status: %w", key, err)
			}
			taken |= mask
			masks++
		}
	}
	if masks != 3 {
		return false, errors.New("cannot read a process's status: signal masks are missing")
	}
	return first && taken&(1<<(signal-1)) == 0, nil
}
