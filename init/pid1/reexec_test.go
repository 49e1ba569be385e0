package pid1

import (
	"math/rand/v2"
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

// faulty is a system whose /init can be made to panic.
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

// provoke makes a place panic the next time it is come to.
func provoke(t *testing.T, s *nstest.System, place string) {
	t.Helper()
	path := filepath.Join(s.Root, fault.Path)
	must(t, os.WriteFile(path+".new", []byte(place), 0o644))
	must(t, os.Rename(path+".new", path))
}

// daemons are containerd, the supervisor and the service's process, once they
// are all there.
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

// again waits until PID 1 has executed itself n times.
func again(t *testing.T, s *nstest.System, n int) {
	t.Helper()
	const said = "PID 1 has re-executed itself"
	for deadline := time.Now().Add(time.Minute); strings.Count(s.Console(), said) < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("executed itself %d times, not %d", strings.Count(s.Console(), said), n)
		}
	}
}

// powersOff wants the way down to be as ever.
func powersOff(t *testing.T, s *nstest.System) {
	t.Helper()
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
	s.Line("shutdown services: exited 0")
	s.Line("shutdown mounts: unmounted")
	// An incarnation that ends while it begins may have announced it too.
	if n := strings.Count(s.Console(), "shutdown mounts"); n != 1 {
		t.Errorf("it went down %d times", n)
	}
}

// kill kills the process of that name. Ids are looked up at once: an older one may
// be a stranger's by now.
func kill(t *testing.T, s *nstest.System, name string, words ...string) {
	t.Helper()
	pids := s.Named(name, words...)
	if len(pids) != 1 {
		t.Fatalf("processes %v", pids)
	}
	must(t, unix.Kill(pids[0], unix.SIGKILL))
}

// answers tells whether the supervisor does.
func answers(s *nstest.System) bool {
	cmd := exec.Command("/usr/bin/service", "list")
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: s.Root}
	return cmd.Run() == nil
}

// restarted waits for a process of that name which is none of before's.
func restarted(t *testing.T, s *nstest.System, before []int, name string, words ...string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		now := s.Named(name, words...)
		if len(now) == 1 && !slices.Contains(before, now[0]) && (name != "service" || answers(s)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s was not started again", name)
		}
	}
}

const web = "trap 'exit 0' TERM; sleep 1001 & wait"

// A panic of anything that runs in PID 1 costs nobody anything: it executes
// itself again, with its children as they were, and works as before.
func TestPanic(t *testing.T) {
	dir := faulty(t, nil)
	container(t, dir, "/containers/services/web", web)
	orphan := func(t *testing.T, s *nstest.System) { s.Signal(unix.SIGCHLD) }
	supervisor := func(t *testing.T, s *nstest.System) { kill(t, s, "service", "supervise") }
	containerd := func(t *testing.T, s *nstest.System) { kill(t, s, "containerd") }
	for _, tc := range []struct {
		place string
		stir  func(*testing.T, *nstest.System) // brings PID 1 to it
		costs string                           // who is killed by that
	}{
		{"reaper", orphan, ""}, {"signals", orphan, ""}, {"console", supervisor, "supervisor"}, {"timeline", nil, ""},
		{"keeper of containerd", containerd, "containerd"}, {"keeper of supervisor", supervisor, "supervisor"},
	} {
		t.Run(tc.place, func(t *testing.T) {
			s := nstest.Boot(t, dir, nstest.Options{})
			s.Stage("ready")
			before := daemons(t, s)
			provoke(t, s, tc.place)
			if tc.stir == nil || tc.place == "signals" { // Met on the way down only.
				powersOff(t, s)
				again(t, s, 1)
				return
			}
			tc.stir(t, s)
			again(t, s, 1)
			switch tc.costs {
			case "containerd":
				restarted(t, s, before, "containerd")
			case "supervisor":
				restarted(t, s, before, "service", "supervise")
			}
			for i, pid := range daemons(t, s) {
				if name := []string{"containerd", "supervisor", "web"}[i]; (pid == before[i]) != (name != tc.costs) {
					t.Errorf("%s was %d and is %d", name, before[i], pid)
				}
			}
			s.Line("PID 1 panicked", tc.place)
			s.Line("fault.Here") // where: the stack
			// All of it works: keepers, reaper, signals.
			now := s.Named("service", "supervise")
			kill(t, s, "service", "supervise")
			restarted(t, s, now, "service", "supervise")
			powersOff(t, s)
		})
	}
}

// A step that panics has failed, on the way up and on the way down, and is not
// repeated; the others are done.
func TestPanicOfAStep(t *testing.T) {
	dir := faulty(t, nil)
	container(t, dir, "/containers/services/web", web)
	for _, place := range []string{"step limits", "step memory protection", "step boot", "step containerd restart", "step late"} {
		t.Run(place, func(t *testing.T) {
			s := nstest.Boot(t, dir, nstest.Options{Env: []string{fault.Variable + "=" + place}})
			s.Stage("ready")
			again(t, s, 1)
			daemons(t, s)
			powersOff(t, s)
		})
	}
	for _, place := range []string{"main", "step shutdown onshutdown", "step shutdown containerd", "step shutdown processes"} {
		t.Run(place, func(t *testing.T) {
			s := nstest.Boot(t, dir, nstest.Options{})
			s.Stage("ready")
			provoke(t, s, place)
			powersOff(t, s)
			again(t, s, 1)
		})
	}
}

// While the boot role runs it is waited for as if nothing had happened; so is
// what runs on the way down. Neither is started twice.
func TestPanicWhileARoleRuns(t *testing.T) {
	const script = shell + "echo begun $0; read x </run/fifo; echo ended $0\n"
	dir := faulty(t, map[string]string{
		"etc/init.d/000-fifo": shell + "mkfifo /run/fifo\n", "etc/init.d/001-wait": script, "etc/shutdown.d/001-wait": script,
	})
	must(t, os.Symlink("sh", filepath.Join(dir, "bin/mkfifo")))
	container(t, dir, "/containers/services/web", web)
	s := nstest.Boot(t, dir, nstest.Options{})
	for i, where := range []string{"/etc/init.d", "/etc/shutdown.d"} {
		s.Line("begun " + where)
		provoke(t, s, "reaper")
		s.Signal(unix.SIGCHLD)
		again(t, s, i+1)
		must(t, os.WriteFile(filepath.Join(s.Root, "run/fifo"), []byte("go on\n"), 0))
		s.Line("ended " + where)
		if i == 0 {
			s.Line("boot: done")
			s.Stage("ready")
			s.Signal(unix.SIGUSR2)
		}
	}
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
	if said := s.Console(); strings.Count(said, "begun") != 2 || strings.Count(said, "shutdown: power off") != 1 {
		t.Error("something was done twice")
	}
}

// A signal that comes while PID 1 executes itself again is not lost.
func TestSignalDuringPanic(t *testing.T) {
	dir, lost := faulty(t, nil), 0
	for range 60 {
		s := nstest.Boot(t, dir, nstest.Options{})
		s.Stage(timelineReady...)
		provoke(t, s, "reaper")
		s.Signal(unix.SIGCHLD)
		time.Sleep(rand.N(30 * time.Millisecond))
		s.Signal(unix.SIGUSR2)
		if !s.Ends(time.Minute) {
			lost++
			s.Signal(unix.SIGUSR2)
		}
		if code := s.Wait(); code != codeDone {
			t.Errorf("exit code %d", code)
		}
		again(t, s, 1)
	}
	// A thread that the kernel has given a signal may be ended by execve(2) before
	// it has run an instruction of the handler.
	if lost > 1 {
		t.Errorf("%d of 60 signals were lost", lost)
	}
}

// What cannot be read of a handover costs nobody his process.
func TestPanicWithDamagedHandover(t *testing.T) {
	dir := faulty(t, nil)
	container(t, dir, "/containers/services/web", web)
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage("ready")
	before := daemons(t, s)
	must(t, os.WriteFile(filepath.Join(s.Root, fault.Spoiled), nil, 0o644))
	provoke(t, s, "reaper")
	s.Signal(unix.SIGCHLD)
	again(t, s, 1)
	s.Line("cannot read the handover")
	if after := daemons(t, s); !slices.Equal(before, after) {
		t.Errorf("processes were %v and are %v", before, after)
	}
	kill(t, s, "containerd")
	restarted(t, s, before, "containerd")
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
	s.Line("shutdown services: exited 0")
}

// What always panics does not keep PID 1 busy, and does not keep the rest from
// working; neither does a program that is gone.
func TestPanicsWithoutEnd(t *testing.T) {
	dir := faulty(t, nil)
	container(t, dir, "/containers/services/web", web)
	for _, tc := range []struct {
		name, says string
		executions int
		prepare    func()
	}{
		{"too often", "more than 5 times", reexecMax, func() {}},
		{"without /init", "cannot execute /init", 0, func() { must(t, os.Remove(filepath.Join(dir, "init"))) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := nstest.Boot(t, dir, nstest.Options{})
			s.Stage("ready")
			before := daemons(t, s)
			tc.prepare()
			provoke(t, s, "reaper!")
			s.Signal(unix.SIGCHLD)
			s.Line("cannot re-execute itself", tc.says)
			again(t, s, tc.executions)
			must(t, os.Remove(filepath.Join(s.Root, fault.Path)))
			kill(t, s, "service", "supervise")
			restarted(t, s, before, "service", "supervise")
			if after := daemons(t, s); after[0] != before[0] || after[2] != before[2] {
				t.Errorf("processes were %v and are %v", before, after)
			}
			powersOff(t, s)
		})
	}
}

// The same for a system that is not the first of its PID namespace.
func TestPanicNotFirst(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := faulty(t, nil)
		container(t, dir, "/containers/services/web", web)
		s := nstest.Boot(t, dir, nstest.Options{NotFirst: true})
		s.Stage("ready")
		before := daemons(t, s)
		provoke(t, s, "reaper")
		s.Signal(unix.SIGCHLD)
		again(t, s, 1)
		if after := daemons(t, s); !slices.Equal(before, after) {
			t.Errorf("processes were %v and are %v", before, after)
		}
		powersOff(t, s)
	})
}
