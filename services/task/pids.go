package task

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
)

// pidsWatch waits until the kernel refuses a container a process because of the limit of
// its cgroup. The kernel counts that in pids.events and wakes processes that poll the
// file (cgroup-v2.rst, "PID Interface Files"; version 1 has the file too).
type pidsWatch struct {
	file   *os.File
	before int // the count at the start
}

// newPidsWatch returns nil when the bundle has no such limit or the limit cannot be
// watched. A container that was refused a process before it was taken over has been
// reported.
func newPidsWatch(b *bundle.Bundle, place Placement, adopted bool) *pidsWatch {
	if !limitsPids(b) {
		return nil
	}
	c := cgroupAt(place)
	if c.path == "" {
		return nil
	}
	// In pids.events of some kernels, the limits of cgroups below count too.
	file, err := os.Open(filepath.Join(c.processes(), "pids.events.local"))
	if err != nil {
		file, err = os.Open(filepath.Join(c.processes(), "pids.events"))
	}
	if err != nil {
		return nil
	}
	w := &pidsWatch{file: file}
	text := make([]byte, 4096)
	n, _ := file.ReadAt(text, 0)
	if w.before = refusals(string(text[:n])); adopted && w.before > 0 {
		_ = file.Close()
		return nil
	}
	return w
}

func limitsPids(b *bundle.Bundle) bool {
	if b.Spec.Linux == nil || b.Spec.Linux.Resources == nil {
		return false
	}
	r := b.Spec.Linux.Resources
	_, unified := r.Unified["pids.max"]
	return unified || r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit > 0
}

// wait returns true when a process was refused, and false after close.
func (w *pidsWatch) wait() bool {
	conn, err := w.file.SyscallConn()
	if err != nil {
		return false
	}
	text := make([]byte, 4096)
	refused := false
	err = conn.Read(func(fd uintptr) bool {
		n, err := unix.Pread(int(fd), text, 0)
		refused = err == nil && refusals(string(text[:n])) > w.before
		return refused || err != nil // ENODEV: the cgroup is gone
	})
	return err == nil && refused
}

func (w *pidsWatch) close() {
	if w != nil {
		_ = w.file.Close()
	}
}

// refusals reads the line "max N" of pids.events.
func refusals(text string) int {
	for line := range strings.Lines(text) {
		if count, ok := strings.CutPrefix(line, "max "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(count))
			return n
		}
	}
	return 0
}

// watchPids reports the first process that the kernel refuses the container.
func (t *Task) watchPids() {
	w := t.pids
	if w == nil {
		return
	}
	t.runner.work.Go(func() {
		if !w.wait() {
			return
		}
		limit, _ := os.ReadFile(filepath.Join(filepath.Dir(w.file.Name()), "pids.max"))
		w.close()
		t.spec.Report(PIDsRefused{fmt.Sprintf(
			"cannot make another process: its limit is %s (linux.resources.pids.limit of %s); threads count, and so do zombies, which it has not waited for",
			strings.TrimSpace(string(limit)), filepath.Join(t.spec.Bundle.Dir, bundle.ConfigFile))})
	})
}
