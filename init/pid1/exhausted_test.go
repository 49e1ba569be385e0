package pid1

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// Without file descriptors, PID 1 still reaps, restarts its children, and shuts down.
func TestNoFileDescriptors(t *testing.T) {
	dir := system(t, nil)
	container(t, dir, "/containers/services/web", web)
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage("ready")
	before := daemons(t, s)
	for _, most := range []uint64{0, 1, 5} {
		none := unix.Rlimit{Cur: most, Max: 1 << 10}
		must(t, unix.Prlimit(s.PID(), unix.RLIMIT_NOFILE, &none, nil))
		kill(t, s, "service", "supervise")
		restarted(t, s, before, "service", "supervise")
		before = daemons(t, s)
	}
	none := unix.Rlimit{Cur: 0, Max: 1 << 10}
	must(t, unix.Prlimit(s.PID(), unix.RLIMIT_NOFILE, &none, nil))
	powerOffCleanly(t, s)
}

// With full file systems, only records of the boot and logs are lost.
func TestNoSpace(t *testing.T) {
	dir := system(t, nil)
	container(t, dir, "/containers/services/web", web)
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage("ready")
	before := daemons(t, s)
	for _, place := range []string{"/run", "/var"} {
		fill(t, s, place)
	}
	kill(t, s, "containerd")
	restarted(t, s, before, "containerd")
	kill(t, s, "service", "supervise")
	s.Line("supervisor ended", "SIGKILL")
	time.Sleep(time.Second)
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
	s.Line("shutdown mounts: unmounted")
}

// fill fills a file system of the running system.
func fill(t *testing.T, s *nstest.System, place string) {
	t.Helper()
	path := filepath.Join(s.Root, place, "filler")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for size := int64(1 << 30); size >= 4096; {
		end, err := f.Seek(0, 2)
		must(t, err)
		if unix.Fallocate(int(f.Fd()), 0, end, size) != nil {
			size /= 2
		}
	}
}

// With /run full from the start, a system boots, although it can run hardly any program,
// and shuts down.
func TestNoSpaceAtBoot(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := system(t, nil)
		container(t, dir, "/containers/services/web", web)
		run := filepath.Join(dir, "run")
		must(t, unix.Mount("tiny", run, "tmpfs", 0, "size=4k"))
		defer func() { _ = unix.Unmount(run, 0) }()
		must(t, os.WriteFile(filepath.Join(run, "filler"), make([]byte, 4096), 0o644))
		s := nstest.Boot(t, dir, nstest.Options{})
		s.Line("boot: done")
		s.Line("timeline has a gap")
		time.Sleep(time.Second)
		s.Signal(unix.SIGUSR2)
		if code := s.Wait(); code != codeDone {
			t.Errorf("exit code %d", code)
		}
		s.Line("shutdown mounts: unmounted")
	})
}

// threadsOf returns the number of threads of a process.
func threadsOf(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	must(t, err)
	return len(entries)
}

// When no process or thread can be started, PID 1 survives, logs few messages, restarts
// daemons as soon as it is possible, and shuts down. It creates all its threads at its
// start, because the Go runtime ends a program that gets no thread.
func TestNoProcesses(t *testing.T) {
	dir := system(t, nil)
	container(t, dir, "/containers/services/web", web)
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage("ready")
	before := daemons(t, s)
	limit := pidsCgroup(t, s.PID())
	count := threadsOf(t, s.PID())
	limit("0")
	kill(t, s, "service", "supervise")
	s.Line("supervisor ended", "resource temporarily unavailable")
	for range 1000 { // Work for all its goroutines at the same time.
		for _, sig := range []syscall.Signal{unix.SIGCHLD, unix.SIGHUP, unix.SIGWINCH, unix.SIGURG} {
			s.Signal(sig)
		}
	}
	time.Sleep(5 * time.Second)
	if now := threadsOf(t, s.PID()); now > count {
		t.Errorf("threads: %d before, %d after", count, now)
	}
	if n := strings.Count(s.Console(), "resource temporarily unavailable"); n > 4 {
		t.Errorf("the failure was logged %d times", n)
	}
	limit("max")
	restarted(t, s, before, "service", "supervise")
	limit("0")
	powerOffCleanly(t, s) // The supervisor has its threads too.
}

// pidsCgroup moves a process to a cgroup of its own, and returns a function that sets
// the limit of threads in it.
func pidsCgroup(t *testing.T, pid int) func(string) {
	t.Helper()
	root := "/sys/fs/cgroup/pids" // version 1
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root = "/sys/fs/cgroup"
		_ = os.WriteFile(root+"/cgroup.subtree_control", []byte("+pids"), 0)
	}
	dir := filepath.Join(root, fmt.Sprintf("keelson-test-pids-%d", os.Getpid()))
	must(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() {
		for range 100 {
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	if _, err := os.Stat(dir + "/pids.max"); err != nil {
		tier.Skip(t, "no pids controller: %v", err)
	}
	must(t, os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0))
	return func(most string) { must(t, os.WriteFile(dir+"/pids.max", []byte(most), 0)) }
}
