package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// exit is how a container ended. code is 128+N after signal N.
type exit struct {
	at      time.Duration // boot-time clock
	code    int
	oom     bool // the kernel killed something in it for want of memory
	unknown bool // it is gone, nobody saw how
}

func (x exit) success() bool { return x.code == 0 && !x.unknown }

// String is the exit in words.
func (x exit) String() string {
	text := fmt.Sprintf("exited %d", x.code)
	if x.unknown {
		text = "exited, status unknown"
	} else if number := x.code - 128; number > 0 && number <= 64 {
		name := unix.SignalName(syscall.Signal(number))
		if name == "" {
			name = "signal " + strconv.Itoa(number)
		}
		text = "killed by " + name
	}
	if x.oom {
		text += " (out of memory)"
	}
	return text
}

// oomCounter reads how often the kernel killed for want of memory in a
// process's cgroup (version 2 only).
type oomCounter struct {
	file   string // empty: cannot be told
	before int
}

func newOOMCounter(pid int) oomCounter {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return oomCounter{}
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok && path != "" {
			c := oomCounter{file: filepath.Join("/sys/fs/cgroup", filepath.Join("/", path), "memory.events")}
			c.before = oomKills(c.file)
			return c
		}
	}
	return oomCounter{}
}

func (c oomCounter) grown() bool { return c.file != "" && oomKills(c.file) > c.before }

// oomKills reads the line "oom_kill N" of a memory.events file.
func oomKills(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(count))
			return n
		}
	}
	return 0
}
