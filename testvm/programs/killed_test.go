package programs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

const (
	store = "var/lib/keelson/programs"
	state = "run/keelson/programs"
)

// moments are states of a swap, by what is there first.
var moments = []struct {
	name    string
	reached func(*system) bool
}{
	{"reading", func(s *system) bool { return s.has(store + "/staging-*") }},
	{"recorded", func(s *system) bool { return s.has(store + "/trial.json") }},
	{"begun", func(s *system) bool { return s.has(state + "/trial") }},
	{"in use", func(s *system) bool { return s.has(state + "/used") }},
	{"new supervisor", func(s *system) bool {
		now := s.Named("service", "supervise")
		return s.has(state+"/trial") && len(now) == 1 && now[0] != s.supervisor
	}},
	{"checks", func(s *system) bool { return s.has(state + "/canary") }},
	{"probation", func(s *system) bool { return strings.Contains(s.Console(), "passes; probation of") }},
	{"committed", func(s *system) bool { return s.has(state + "/outcome") }},
}

func (s *system) has(pattern string) bool {
	found, err := filepath.Glob(filepath.Join(s.Root, pattern))
	return err == nil && len(found) > 0
}

// kill kills daemons, if they run.
func (s *system) kill(names ...string) {
	for _, name := range names {
		args := map[string][]string{"supervisor": {"service", "supervise"}, "containerd": {"containerd"}}[name]
		for _, pid := range s.Named(args[0], args[1:]...) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// until waits until a moment of a swap. It returns false if the swap has ended before, which a
// short moment allows.
func (s *system) until(reached func(*system) bool, ended <-chan struct{}) bool {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !reached(s); time.Sleep(time.Millisecond) {
		select {
		case <-ended:
			return reached(s)
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the swap does not get there")
		}
	}
	return true
}

// settled waits until no swap is left, and returns the version of the programs: that of the
// image, or want.
func (s *system) settled(step, image, want string) string {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); s.has(state+"/trial") || s.has(store+"/trial.json") || s.has(store+"/staging-*"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: the swap does not end", step)
		}
	}
	version := image
	if target, err := os.Readlink(filepath.Join(s.Root, store, "current")); err == nil && target != "image" {
		version = want
	}
	s.running(version)
	s.untouched()
	return version
}

// Whatever is killed, and whenever (all of them at each moment only in `make test-all`), the
// programs before or the new ones run afterwards, all of them, and the service has not
// noticed.
func TestKilled(t *testing.T) {
	k := newKeys(t)
	dir := tree(t, k)
	file := artifact(t, k, whole(t, "second"))
	for i, kill := range [][]string{{"supervisor"}, {"containerd"}, {"containerd", "supervisor"}} {
		for j, m := range moments {
			if (i+j)%3 != 0 && os.Getenv(tier.Everything) == "" {
				continue
			}
			step := fmt.Sprintf("%s killed when %s", strings.Join(kill, " and "), m.name)
			t.Run(step, func(t *testing.T) {
				t.Parallel()
				s := boot(t, dir, nstest.Options{})
				image := strings.TrimSpace(s.version())
				ended := s.swap(file)
				if s.until(m.reached, ended) {
					s.kill(kill...)
				}
				<-ended
				version := s.settled(step, image, "second")
				if m.name == "committed" && version != "second" {
					t.Errorf("a committed swap was undone")
				}
				s.ends()
			})
		}
	}
}

// swap begins a swap, and returns a channel that is closed at its end.
func (s *system) swap(file string) (ended chan struct{}) {
	s.t.Helper()
	s.supervisor = s.one("service", "supervise")
	ctx, cancel := context.WithTimeout(s.t.Context(), 4*time.Minute)
	cmd := s.command(ctx, file, "swap", "-f", "-programs", "-probation", "1s", "-")
	ended = make(chan struct{})
	go func() {
		defer cancel()
		defer close(ended)
		out, err := cmd.CombinedOutput()
		s.t.Logf("%v: %s", err, out)
	}()
	return ended
}

// PID 1 panics during a trial, and while it undoes one.
func TestPanic(t *testing.T) {
	k := newKeys(t)
	dir := faulty(t, k)
	good := artifact(t, k, whole(t, "second"))
	bad := artifact(t, k, map[string]string{"usr/bin/runc": program(t, "broken-exits")})
	for _, tc := range []struct{ place, file, want string }{
		{"keeper of supervisor", good, "second"}, {"keeper of containerd", good, "second"},
		{"undo of programs", bad, ""}, {"keeper of supervisor", bad, ""},
	} {
		t.Run(tc.place, func(t *testing.T) {
			t.Parallel()
			s := boot(t, dir, nstest.Options{})
			image := strings.TrimSpace(s.version())
			must(t, os.WriteFile(filepath.Join(s.Root, faultFile), []byte(tc.place), 0o600))
			<-s.swap(tc.file)
			version := s.settled(tc.place, image, "second")
			if tc.want == "" {
				tc.want = image
			}
			if version != tc.want {
				t.Errorf("version %q, want %q", version, tc.want)
			}
			s.Line("PID 1 has re-executed itself")
			s.ends()
		})
	}
}

// A hanging supervisor on trial is ended also if PID 1 has re-executed itself meanwhile. Only
// the PID 1 after that has the short limit.
func TestPanicWhileTrialHangs(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	dir := faulty(t, k)
	s := boot(t, dir, nstest.Options{})
	image := strings.TrimSpace(s.version())
	ended := s.swap(artifact(t, k, map[string]string{"usr/bin/service": program(t, "broken-hangs"), "usr/bin/containerd": nstest.Guest(t, "usr/bin/service")}))
	if !s.until(func(s *system) bool {
		now := s.Named("service", "supervise")
		return s.has(state+"/trial") && len(now) == 1 && now[0] != s.supervisor
	}, ended) {
		t.Fatal("no trial")
	}
	must(t, os.WriteFile(filepath.Join(s.Root, limitFile), []byte("1ms"), 0o600))
	must(t, os.WriteFile(filepath.Join(s.Root, faultFile), []byte("keeper of containerd"), 0o600))
	s.kill("containerd") // Its end, or its next start, makes PID 1 panic.
	<-ended
	s.Line("PID 1 has re-executed itself")
	s.Line("the trial did not end within 1ms")
	s.settled("hang", image, "second")
	s.ends()
}

// A disk keeps the programs: the next boot uses them, before the first service.
func TestReboot(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	dir := tree(t, k)
	onDisk(t, dir)
	s := boot(t, dir, nstest.Options{})
	image := strings.TrimSpace(s.version())
	<-s.swap(artifact(t, k, whole(t, "second")))
	s.settled("swap", image, "second")
	s.ends()

	s = boot(t, dir, nstest.Options{})
	s.running("second")
	s.Line("programs of version sha256:", "are in use")
	if out := s.Output("/usr/bin/service", "diff"); !strings.Contains(out, "-programs") {
		t.Errorf("service diff:\n%s", out)
	}
	s.ends()

	s = boot(t, dir, nstest.Options{CmdLine: "keelson.programs=image"})
	s.running(image)
	if out := s.Output("/usr/bin/service", "diff"); !strings.Contains(out, "not in use") {
		t.Errorf("service diff:\n%s", out)
	}
	s.ends()

	// A trial that a power cut has interrupted.
	s = boot(t, dir, nstest.Options{})
	ended := s.swap(artifact(t, k, whole(t, "third")))
	if s.until(func(s *system) bool { return s.has(state + "/canary") }, ended) {
		must(t, syscall.Kill(s.PID(), syscall.SIGKILL))
	}
	<-ended
	s.Wait()
	s = boot(t, dir, nstest.Options{})
	s.running("second")
	s.Line("programs: swap to sha256:", "it was interrupted")
	s.ends()

	// A program that the disk has damaged.
	target, err := os.Readlink(filepath.Join(dir, store, "current"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, store, target, "rootfs/usr/bin/runc"), []byte("damaged"), 0o755))
	s = boot(t, dir, nstest.Options{})
	s.running(image)
	s.Line("the programs of the image run", "another content")
	s.ends()
}
