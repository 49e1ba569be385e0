package hostbench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"keelson/runtime/timeline"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// system has services s000, s001 and so on, which only sleep.
type system struct {
	*nstest.System
	t *testing.T
}

func boot(t *testing.T, count int) *system {
	t.Helper()
	tier.Root(t)
	tree := t.TempDir()
	nstest.Tree(t, tree)
	for i := range count {
		path := "/containers/services/" + name(i)
		nstest.Bundle(t, filepath.Join(tree, path), "exec sleep 100000", nil, fmt.Sprintf(
			`{"mounts":[{"destination":"%[1]s/rootfs","source":"%[1]s/rootfs","options":["bind"]}]}`, path))
	}
	return &system{System: nstest.Boot(t, tree, nstest.Options{Limit: time.Hour, Patience: 5 * time.Minute}), t: t}
}

func name(i int) string { return fmt.Sprintf("s%03d", i) }

// events returns the boot events so far.
func (s *system) events() (all []timeline.Event) {
	for line := range strings.Lines(s.Console()) {
		if e, ok := timeline.ParseLine(line); ok {
			all = append(all, e)
		}
	}
	return all
}

// process is a process of the system, with its process id on the host.
type process struct {
	pid  int
	args []string
}

func (p process) program() string { return filepath.Base(p.args[0]) }

// processes returns /init and its descendants.
func (s *system) processes() (found []process) {
	s.t.Helper()
	todo := []int{s.PID()}
	for ; len(todo) > 0; todo = todo[1:] {
		text, err := os.ReadFile(proc(todo[0], "cmdline"))
		if err != nil || len(text) == 0 {
			continue // It has ended.
		}
		found = append(found, process{pid: todo[0], args: strings.Split(string(text), "\x00")})
		lists, _ := filepath.Glob(proc(todo[0], "task/*/children"))
		for _, list := range lists {
			children, _ := os.ReadFile(list)
			for _, word := range strings.Fields(string(children)) {
				pid, err := strconv.Atoi(word)
				if err != nil {
					s.t.Fatal(err)
				}
				todo = append(todo, pid)
			}
		}
	}
	return found
}

func (s *system) one(program string) process {
	s.t.Helper()
	var found []process
	for _, p := range s.processes() {
		if p.program() == program {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		s.t.Fatalf("there are %d processes of %s, want 1: %v", len(found), program, found)
	}
	return found[0]
}

func proc(pid int, file string) string { return filepath.Join("/proc", strconv.Itoa(pid), file) }

// number returns the number in a line "NAME VALUE …".
func number(t *testing.T, file, name string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in %s", name, file)
	return 0
}

// wakeUps returns how often threads of a process were scheduled.
func wakeUps(t *testing.T, pid int) (n int) {
	t.Helper()
	threads, err := filepath.Glob(proc(pid, "task/*/status"))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d has ended: %v", pid, err)
	}
	for _, file := range threads {
		n += number(t, file, "voluntary_ctxt_switches:") + number(t, file, "nonvoluntary_ctxt_switches:")
	}
	return n
}

// work returns the processor time of all processes of the system, including those that have
// ended (cpu.stat of cgroup-v2.rst). It does not depend on other load of the host.
func (s *system) work() time.Duration {
	s.t.Helper()
	text, err := os.ReadFile(proc(s.PID(), "cgroup"))
	if err != nil {
		s.t.Fatal(err)
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil || len(mounts) == 0 {
		s.t.Fatalf("no cgroup2 is mounted: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			file := filepath.Join(mounts[0].Mountpoint, path, "cpu.stat")
			return time.Duration(number(s.t, file, "usage_usec")) * time.Microsecond
		}
	}
	s.t.Fatalf("no cgroup2 in %s", text)
	return 0
}

// now returns the time of the clock that events use.
func now(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
