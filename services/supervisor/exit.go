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

	"keelson/runtime/bundle"
	"keelson/runtime/procfs"
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
// process's cgroup.
type oomCounter struct {
	file   string // empty: cannot be told
	before int
}

// newOOMCounter leaves out what is counted in those of the other services that
// lie in the cgroup of the process.
func newOOMCounter(pid int, others []string) oomCounter {
	cgroups, err := procfs.ReadCgroup("/proc", pid)
	if err != nil {
		return oomCounter{}
	}
	c := oomCounter{file: oomFile(cgroups, others)}
	c.before = oomKills(c.file)
	return c
}

// oomFile finds the file with a cgroup's count; empty for the root cgroup, which has no
// limit. memory.events counts for the cgroups below too, memory.events.local does not
// (cgroup-v2.rst).
func oomFile(cgroups []procfs.Cgroup, others []string) string {
	for _, c := range cgroups {
		path := filepath.Join("/", c.Path)
		switch {
		case path == "/":
		case c.Has("memory"):
			return filepath.Join("/sys/fs/cgroup/memory", path, "memory.oom_control")
		case c.V2():
			file := "memory.events"
			if len(bundle.Nested(path, others)) > 0 {
				file = "memory.events.local"
			}
			return filepath.Join("/sys/fs/cgroup", path, file)
		}
	}
	return ""
}

func (c oomCounter) grown() bool { return c.file != "" && oomKills(c.file) > c.before }

// oomKills reads the line "oom_kill N" that both versions' files have.
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
