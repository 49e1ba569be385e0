package pid1

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/fault"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

const web = "trap 'exit 0' TERM; sleep 1001 & wait"

// After a panic in any goroutine, PID 1 re-executes itself, keeps its children, and works
// as before.
func TestPanic(t *testing.T) {
	dir := faulty(t, nil)
	container(t, dir, "/containers/services/web", web)
	orphan := func(t *testing.T, s *nstest.System) { s.Signal(unix.SIGCHLD) }
	supervisor := func(t *testing.T, s *nstest.System) { kill(t, s, "service", "supervise") }
	containerd := func(t *testing.T, s *nstest.System) { kill(t, s, "containerd") }
	for _, tc := range []struct {
		place   string
		trigger func(*testing.T, *nstest.System) // makes PID 1 run the code at the place
		kills   string                           // the daemon that trigger kills
	}{
		{"reaper", orphan, ""}, {"signals", orphan, ""}, {"console", supervisor, "supervisor"}, {"timeline", nil, ""},
		{"keeper of containerd", containerd, "containerd"}, {"keeper of supervisor", supervisor, "supervisor"},
	} {
		t.Run(tc.place, func(t *testing.T) {
			s := nstest.Boot(t, dir, nstest.Options{})
			s.Stage("ready")
			before := daemons(t, s)
			provoke(t, s, tc.place)
			if tc.trigger == nil || tc.place == "signals" { // The code runs only during the shutdown.
				powerOffCleanly(t, s)
				waitReexec(t, s, 1)
				return
			}
			tc.trigger(t, s)
			waitReexec(t, s, 1)
			switch tc.kills {
			case "containerd":
				restarted(t, s, before, "containerd")
			case "supervisor":
				restarted(t, s, before, "service", "supervise")
			}
			for i, pid := range daemons(t, s) {
				if name := []string{"containerd", "supervisor", "web"}[i]; (pid == before[i]) != (name != tc.kills) {
					t.Errorf("PID of %s: %d before, %d after", name, before[i], pid)
				}
			}
			s.Line("PID 1 panicked", tc.place)
			s.Line("fault.Here") // in the stack trace
			// Keepers, reaper and signals work.
			now := s.Named("service", "supervise")
			kill(t, s, "service", "supervise")
			restarted(t, s, now, "service", "supervise")
			powerOffCleanly(t, s)
		})
	}
}

// A step that panics, during the boot or the shutdown, has failed and is not repeated;
// the others run.
func TestPanicOfAStep(t *testing.T) {
	dir := faulty(t, nil)
	container(t, dir, "/containers/services/web", web)
	for _, place := range []string{"step limits", "step memory protection", "step boot", "step containerd restart", "step late"} {
		t.Run(place, func(t *testing.T) {
			s := nstest.Boot(t, dir, nstest.Options{Env: []string{fault.Variable + "=" + place}})
			s.Stage("ready")
			waitReexec(t, s, 1)
			daemons(t, s)
			powerOffCleanly(t, s)
		})
	}
	for _, place := range []string{"main", "step shutdown onshutdown", "step shutdown containerd", "step shutdown processes"} {
		t.Run(place, func(t *testing.T) {
			s := nstest.Boot(t, dir, nstest.Options{})
			s.Stage("ready")
			provoke(t, s, place)
			powerOffCleanly(t, s)
			waitReexec(t, s, 1)
		})
	}
}

// If PID 1 panics while the boot role or the shutdown role runs, it waits for the role
// afterwards and does not start it a second time.
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
		waitReexec(t, s, i+1)
		must(t, os.WriteFile(filepath.Join(s.Root, "run/fifo"), []byte("continue\n"), 0))
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
	if log := s.Console(); strings.Count(log, "begun") != 2 || strings.Count(log, "shutdown: power off") != 1 {
		t.Error("a role ran twice")
	}
}

// A signal that arrives while PID 1 re-executes itself is not lost.
func TestSignalDuringPanic(t *testing.T) {
	dir, times, lost := faulty(t, nil), 25, 0
	if os.Getenv(tier.Everything) == "1" {
		times = 100
	}
	for range times {
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
		waitReexec(t, s, 1)
	}
	// execve(2) may end the thread to which the kernel has delivered a signal before the
	// thread has run an instruction of the handler.
	if lost > 1 {
		t.Errorf("%d of %d signals were lost", lost, times)
	}
}

// PID 1 keeps the sockets of services for the next supervisor, also when it has re-executed
// itself: a client that waits to be accepted is still connected after the service and the
// supervisor were killed.
func TestSocketsAreKept(t *testing.T) {
	dir := faulty(t, nil)
	container(t, dir, "/containers/services/web", web, "listen=unix:/run/web.sock", "restart=always")
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage("ready")
	client := connect(t, filepath.Join(s.Root, "run/web.sock"))
	for i, reexec := range []bool{false, true, true} {
		before := daemons(t, s)
		if reexec {
			provoke(t, s, "reaper")
			s.Signal(unix.SIGCHLD)
			waitReexec(t, s, i)
		}
		kill(t, s, "sleep", "1001")
		kill(t, s, "service", "supervise")
		restarted(t, s, before, "service", "supervise")
		restarted(t, s, before, "sleep", "1001")
		if _, err := unix.Read(client, make([]byte, 1)); !errors.Is(err, unix.EAGAIN) {
			t.Fatalf("round %d: the connection has ended: %v", i, err)
		}
	}
	connect(t, filepath.Join(s.Root, "run/web.sock"))
	powerOffCleanly(t, s)
}

// connect connects to a Unix socket.
func connect(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	must(t, unix.Connect(fd, &unix.SockaddrUnix{Name: path}))
	return fd
}

// After a damaged handover, all processes continue to run.
func TestPanicWithDamagedHandover(t *testing.T) {
	dir := faulty(t, nil)
	container(t, dir, "/containers/services/web", web)
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage("ready")
	before := daemons(t, s)
	must(t, os.WriteFile(filepath.Join(s.Root, fault.Spoiled), nil, 0o644))
	provoke(t, s, "reaper")
	s.Signal(unix.SIGCHLD)
	waitReexec(t, s, 1)
	s.Line("cannot read the handover")
	if after := daemons(t, s); !slices.Equal(before, after) {
		t.Errorf("PIDs: %v before, %v after", before, after)
	}
	kill(t, s, "containerd")
	restarted(t, s, before, "containerd")
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
	s.Line("shutdown services: exited 0")
}

// A panic that always recurs does not make PID 1 re-execute itself forever, and does not
// affect other goroutines; neither does a panic without an /init to execute.
func TestRecurringPanic(t *testing.T) {
	dir := faulty(t, nil)
	container(t, dir, "/containers/services/web", web)
	for _, tc := range []struct {
		name, want string
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
			s.Line("cannot re-execute itself", tc.want)
			waitReexec(t, s, tc.executions)
			must(t, os.Remove(filepath.Join(s.Root, fault.Path)))
			kill(t, s, "service", "supervise")
			restarted(t, s, before, "service", "supervise")
			if after := daemons(t, s); after[0] != before[0] || after[2] != before[2] {
				t.Errorf("PIDs: %v before, %v after", before, after)
			}
			powerOffCleanly(t, s)
		})
	}
}

// The same if /init is not the first process of its PID namespace.
func TestPanicNotFirst(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := faulty(t, nil)
		container(t, dir, "/containers/services/web", web)
		s := nstest.Boot(t, dir, nstest.Options{NotFirst: true})
		s.Stage("ready")
		before := daemons(t, s)
		provoke(t, s, "reaper")
		s.Signal(unix.SIGCHLD)
		waitReexec(t, s, 1)
		if after := daemons(t, s); !slices.Equal(before, after) {
			t.Errorf("PIDs: %v before, %v after", before, after)
		}
		powerOffCleanly(t, s)
	})
}
