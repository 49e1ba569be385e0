package pid1

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/pid1/keeper"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// Without a working supervisor, the system boots as far as it can, reports the reason,
// and shuts down in time.
func TestBrokenSupervisor(t *testing.T) {
	for name, tc := range map[string]struct {
		program string // content of the file; empty if it is missing
		logs    []string
	}{
		"ends immediately": {shell + "exit 7\n", []string{"supervisor ended", "exited 7"}},
		"is not a program": {"nonsense\n", []string{"supervisor ended", "exec format error"}},
		"is missing":       {"", []string{"cannot supervise services", "/usr/bin/service"}},
		"hangs":            {shell + "trap '' TERM\nwhile :; do sleep 1; done\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := system(t, nil)
			container(t, dir, "/containers/services/web", "exec sleep 1000")
			must(t, os.Symlink("sh", filepath.Join(dir, "bin/sleep")))
			// Keep the program for containerd, which is a link to it.
			must(t, os.Rename(filepath.Join(dir, "usr/bin/service"), filepath.Join(dir, "usr/bin/containerd")))
			if tc.program != "" {
				must(t, os.WriteFile(filepath.Join(dir, "usr/bin/service"), []byte(tc.program), 0o755))
			}
			s := nstest.Boot(t, dir, nstest.Options{})
			s.Line("boot: done")
			if tc.logs != nil {
				s.Line(tc.logs...)
			}
			time.Sleep(3 * time.Second)
			began := time.Now()
			s.Signal(unix.SIGUSR2)
			if code, took := s.Wait(), time.Since(began); code != codeDone || took > stopDefault+time.Minute {
				t.Errorf("exit code %d after %v", code, took)
			}
			if n := strings.Count(s.Console(), "restarting it"); n > 5 {
				t.Errorf("restarts were logged %d times", n)
			}
		})
	}
}

// Only four signals have an effect on PID 1, regardless of how many others arrive and
// from where. From inside the PID namespace, the kernel delivers neither SIGKILL nor
// SIGSTOP to the first process.
func TestSignalFlood(t *testing.T) {
	dir := system(t, nil)
	container(t, dir, "/containers/services/web", web)
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage("ready")
	before := daemons(t, s)
	var harmless []string
	for n := 1; n <= 64; n++ {
		if _, means := actions[syscall.Signal(n)]; !means {
			harmless = append(harmless, strconv.Itoa(n))
		}
	}
	flood := fmt.Sprintf("i=0; while [ $i -lt 100 ]; do for n in %s; do kill -$n 1; done; i=$((i+1)); done", strings.Join(harmless, " "))
	inside(t, s, "/bin/sh", "-c", flood)
	for range 100 {
		for n := 1; n <= 64; n++ {
			if sig := syscall.Signal(n); slices.Contains(harmless, strconv.Itoa(n)) && sig != unix.SIGKILL && sig != unix.SIGSTOP {
				s.Signal(sig)
			}
		}
	}
	if after := daemons(t, s); !slices.Equal(before, after) {
		t.Errorf("PIDs: %v before, %v after", before, after)
	}
	kill(t, s, "service", "supervise")
	restarted(t, s, before, "service", "supervise")
	for range 1000 {
		if s.Try(unix.SIGUSR2) != nil {
			break
		}
	}
	s.Stage("shutdown") // Of two signals that are sent at once, either may arrive first.
	for range 1000 {
		if s.Try(unix.SIGTERM) != nil {
			break
		}
	}
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(s.Console(), "already shuts down"); n > 2 {
		t.Errorf("ignored requests were logged %d times", n)
	}
}

// inside runs a program of the system in all of its namespaces.
func inside(t *testing.T, s *nstest.System, args ...string) {
	t.Helper()
	tier.Tool(t, "nsenter", "util-linux")
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(s.PID()), "-m", "-p", "-r", "-w", "--"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// Orphans are reaped, 8,000 in `make test` and 100,000 in `make test-all`. After the
// first thousands, the memory of PID 1 grows by less than 80 bytes for each.
func TestOrphans(t *testing.T) {
	const first = 2_000
	orphans := 8_000
	if os.Getenv(tier.Everything) == "1" {
		orphans = 100_000
	}
	tier.Tool(t, "go", "golang-go")
	dir := system(t, nil)
	container(t, dir, "/containers/services/web", web)
	build(t, filepath.Join(dir, "testapp"), "keelson/testvm/testapp")
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage("ready")
	before := daemons(t, s)
	orphan := func(n int) {
		t.Helper()
		inside(t, s, "/testapp", "orphans", strconv.Itoa(n))
		for deadline := time.Now().Add(time.Minute); len(s.Processes()) > 6; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d processes still run", len(s.Processes()))
			}
		}
	}
	orphan(first)
	memory := anonymous(t, s.PID())
	orphan(orphans)
	if after := daemons(t, s); !slices.Equal(before, after) {
		t.Errorf("PIDs: %v before, %v after", before, after)
	}
	now := anonymous(t, s.PID())
	t.Logf("memory: %d KiB, %d KiB after %d orphans", memory, now, orphans)
	if now > memory+orphans*80/1024 {
		t.Errorf("memory grew from %d KiB to %d KiB", memory, now)
	}
	kill(t, s, "service", "supervise")
	restarted(t, s, before, "service", "supervise")
	powerOffCleanly(t, s)
}

// anonymous returns the anonymous memory of a process in KiB.
func anonymous(t *testing.T, pid int) (n int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssAnon:" {
			n, err = strconv.Atoi(f[1])
			must(t, err)
		}
	}
	return n
}

// If a file system hangs, here one whose server never answers, only the files on it are
// unavailable. The system still shuts down within its limits.
func TestHungFileSystem(t *testing.T) {
	tier.Root(t)
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		tier.Skip(t, "needs a file system that can hang: %v", err)
	}
	dir := system(t, nil)
	container(t, dir, "/containers/services/web", web)
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage("ready")
	daemons(t, s)
	hang(t, s, fuse, "/run/keelson")
	began := time.Now()
	kill(t, s, "service", "supervise")
	s.Line("supervisor ended")
	s.Signal(unix.SIGUSR2)
	for _, line := range []string{"shutdown services:", "shutdown processes:", "shutdown mounts:"} {
		s.Line(line)
	}
	if took, limit := time.Since(began), stopDefault+2*keeper.KillGrace+containerdGrace+termGrace+time.Minute; took > limit {
		t.Errorf("the shutdown took %v", took)
	}
	must(t, fuse.Close()) // A machine would have rebooted; a PID namespace waits for processes that hang in the kernel.
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
}

// hang mounts a file system whose server never answers on a folder of a system.
func hang(t *testing.T, s *nstest.System, fuse *os.File, place string) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		done <- func() error {
			ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", s.PID()))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)); err != nil {
				return err
			}
			target := filepath.Join(s.Root, place)
			return unix.Mount("hung", target, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse.Fd()))
		}()
	}()
	must(t, <-done)
}
