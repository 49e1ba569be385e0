package pid1

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/fault"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// faulty returns a system whose /init is built with fault injection.
func faulty(t *testing.T, files map[string]string) string {
	t.Helper()
	tier.Tool(t, "go", "golang-go")
	dir := system(t, files)
	must(t, os.Remove(filepath.Join(dir, "init")))
	cmd := exec.Command("go", "build", "-tags", "faults", "-o", filepath.Join(dir, "init"), "keelson/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build init: %v\n%s", err, out)
	}
	return dir
}

// provoke makes the code at a place panic when it runs next.
func provoke(t *testing.T, s *nstest.System, place string) {
	t.Helper()
	path := filepath.Join(s.Root, fault.Path)
	must(t, os.WriteFile(path+".new", []byte(place), 0o644))
	must(t, os.Rename(path+".new", path))
}

// daemons waits until containerd, the supervisor and the service's process run, and
// returns their PIDs.
func daemons(t *testing.T, s *nstest.System) []int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		all := slices.Concat(s.Named("containerd"), s.Named("service", "supervise"), s.Named("sleep", "1001"))
		if len(all) == 3 {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes are %v", all)
		}
	}
}

// waitReexec waits until PID 1 has re-executed itself n times.
func waitReexec(t *testing.T, s *nstest.System, n int) {
	t.Helper()
	const message = "PID 1 has re-executed itself"
	for deadline := time.Now().Add(time.Minute); strings.Count(s.Console(), message) < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("PID 1 has re-executed itself %d times, want %d", strings.Count(s.Console(), message), n)
		}
	}
}

// powerOffCleanly powers the system off and checks that the shutdown is complete.
func powerOffCleanly(t *testing.T, s *nstest.System) {
	t.Helper()
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
	s.Line("shutdown services: exited 0")
	s.Line("shutdown mounts: unmounted")
	// Other lines may appear twice: PID 1 may re-execute itself while it logs one.
	if n := strings.Count(s.Console(), "shutdown mounts"); n != 1 {
		t.Errorf("mounts were unmounted %d times", n)
	}
}

// kill kills the process of that name. It looks up the PID immediately before, because
// an older PID may have been reused.
func kill(t *testing.T, s *nstest.System, name string, words ...string) {
	t.Helper()
	pids := s.Named(name, words...)
	if len(pids) != 1 {
		t.Fatalf("PIDs of %s: %v, want one", name, pids)
	}
	must(t, unix.Kill(pids[0], unix.SIGKILL))
}

// answers reports whether the supervisor answers requests.
func answers(s *nstest.System) bool {
	cmd := exec.Command("/usr/bin/service", "list")
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: s.Root}
	return cmd.Run() == nil
}

// restarted waits for a process of that name that is not in before.
func restarted(t *testing.T, s *nstest.System, before []int, name string, words ...string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		now := s.Named(name, words...)
		if len(now) == 1 && !slices.Contains(before, now[0]) && (name != "service" || answers(s)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s was not restarted", name)
		}
	}
}
