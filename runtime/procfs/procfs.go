// Package procfs reads what the kernel shows of processes in /proc: stat, status,
// cgroup, cmdline and children.
// Parameters called proc are the folder, /proc outside of tests.
// Sources: proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5),
// proc_tid_children(5), cgroups(7), pid_namespaces(7).
package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Stat is the beginning of /proc/PID/stat.
type Stat struct {
	State  byte // 'R', 'S', 'Z' and so on
	Parent int  // 0: none that this PID namespace has
}

// ParseStat parses "PID (NAME) STATE PPID …". The name may hold anything, blanks and
// parentheses included.
func ParseStat(text []byte) (Stat, error) {
	_, rest, found := bytes.Cut(text[max(bytes.LastIndexByte(text, ')'), 0):], []byte(") "))
	fields := bytes.Fields(rest)
	if !found || len(fields) < 2 || len(fields[0]) != 1 {
		return Stat{}, errors.New("cannot parse stat of a process: want PID (NAME) STATE PPID")
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil || parent < 0 {
		return Stat{}, fmt.Errorf("cannot parse stat of a process: %q is no process id", fields[1])
	}
	return Stat{State: fields[0][0], Parent: parent}, nil
}

// ReadStat reads the stat of a process. Gone reports whether the error means that
// there is no such process.
func ReadStat(proc string, pid int) (Stat, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return Stat{}, err
	}
	return ParseStat(text)
}

// clockTick is the unit of processor times in /proc: USER_HZ is 100 on all
// architectures that keelson runs on.
const clockTick = 10 * time.Millisecond

// ParseCPUTime parses the processor time that a process has used, in user and in kernel
// mode, from its stat: utime and stime are the 12th and the 13th field after the name.
func ParseCPUTime(text []byte) (time.Duration, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, errors.New("cannot parse processor time in stat of a process: too few fields")
	}
	user, userErr := strconv.ParseUint(string(fields[11]), 10, 32)
	system, systemErr := strconv.ParseUint(string(fields[12]), 10, 32)
	if err := errors.Join(userErr, systemErr); err != nil {
		return 0, fmt.Errorf("cannot parse processor time in stat of a process: %w", err)
	}
	return time.Duration(user+system) * clockTick, nil
}

// ReadCPUTime reads the processor time that a process has used.
func ReadCPUTime(proc string, pid int) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	return ParseCPUTime(text)
}

// ParseStart parses when a process was started, in clock ticks since the boot, from its stat: starttime is the 20th
// field after the name. A PID and its start identify a process until the next boot.
func ParseStart(text []byte) (uint64, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, errors.New("cannot parse the start in stat of a process: too few fields")
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot parse the start in stat of a process: %w", err)
	}
	return start, nil
}

// ReadStart reads when a process was started.
func ReadStart(proc string, pid int) (uint64, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	return ParseStart(text)
}

// Gone reports whether a file below /proc/PID could not be read since the process is
// gone: ESRCH is returned when it ends between open(2) and read(2).
func Gone(err error) bool { return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// Zombie reports whether the state is that of a process whose first thread has ended.
func (s Stat) Zombie() bool { return s.State == 'Z' || s.State == 'X' }

// Ended reports whether a process has ended: it is gone, or a zombie with no thread
// left. kill(2) succeeds on a zombie to no effect.
func Ended(proc string, pid int) bool {
	stat, err := ReadStat(proc, pid)
	if err != nil || !stat.Zombie() {
		return Gone(err)
	}
	threads, _ := os.ReadDir(filepath.Join(proc, strconv.Itoa(pid), "task"))
	return len(threads) <= 1
}

// StatusField returns the value of a line "KEY:\tVALUE" of /proc/PID/status, without
// blanks around it; empty when there is none. The kernel escapes line breaks of names.
func StatusField(status, key string) string {
	for line := range strings.Lines(status) {
		if name, value, _ := strings.Cut(line, ":"); name == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
