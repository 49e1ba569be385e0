package task

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
)

// oomPause is how long nothing is looked for after the kernel has changed the count, or others
// in the same file: a container that is always at its limit changes one 100 times a second.
const oomPause = time.Second

// oomCounter reads how often the kernel killed a process for lack of memory in the
// cgroup of a container.
type oomCounter struct {
	file     string   // empty: not known
	before   int      // the count at the start
	reported int      // the count at the last report
	events   *os.File // file, to wait for a change; nil: not possible
}

// newOOMCounter does not count for cgroups of the other services that lie in the cgroup of the
// container, nor for those that a service with delegated cgroups makes.
func newOOMCounter(place Placement, delegated bool) oomCounter {
	c := oomCounter{file: oomFile(cgroupRoot, place, delegated)}
	c.before = oomKills(c.file)
	c.reported = c.before
	if c.file != "" {
		c.events, _ = os.Open(c.file) // Without it, the end of the container reports.
	}
	return c
}

func (c oomCounter) close() { _ = c.events.Close() }

// wait waits until the kernel changes the file (cgroup-v2.rst, "Memory Interface Files"). It
// returns false after close, and where changes cannot be waited for.
func (c oomCounter) wait() bool {
	conn, err := c.events.SyscallConn()
	if err != nil {
		return false
	}
	text, looked := make([]byte, 1), false
	err = conn.Read(func(fd uintptr) bool {
		if looked {
			return true
		}
		looked = true
		_, err := unix.Pread(int(fd), text, 0) // A change after this wakes.
		return err != nil || oomKills(c.file) > c.reported
	})
	return err == nil
}

// watchOOM reports processes that the kernel kills while the container runs.
func (t *Task) watchOOM() {
	counter := t.oom
	if counter.events == nil {
		return
	}
	t.runner.work.Go(func() {
		for counter.wait() {
			counter.reported = t.reportOOM()
			if !backoff.Wait(t.ctx, oomPause) {
				return
			}
		}
	})
}

// reportOOM reports the processes that the kernel has killed since the last report. It returns
// the count.
func (t *Task) reportOOM() int {
	t.oomLock.Lock()
	defer t.oomLock.Unlock()
	count := oomKills(t.oom.file)
	if count > t.oom.reported {
		t.spec.Report(OOMKilled{count - t.oom.reported})
		t.oom.reported = count
	}
	return t.oom.reported
}

// oomFile returns the file below root with a cgroup's count, in the hierarchy of version 2
// or of the controller memory. memory.events counts for the cgroups below too,
// memory.events.local does not (cgroup-v2.rst).
func oomFile(root string, place Placement, delegated bool) string {
	file := "memory.events"
	switch {
	case delegated:
		file = filepath.Join(prepare.FirstCgroup, "memory.events.local")
	case len(bundle.Nested(place.made(), place.Others)) > 0:
		file = "memory.events.local"
	}
	for _, path := range []string{
		filepath.Join(root, "memory", place.made(), "memory.oom_control"),
		filepath.Join(root, place.made(), file),
	} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

func (c oomCounter) grown() bool { return c.file != "" && oomKills(c.file) > c.before }

// oomKills reads the line "oom_kill N", which the files of both versions have.
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
