package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/testvm/nstest"
)

// counting prints one number after the other until it is stopped.
const counting = "trap 'exit 0' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"

// killSupervisor kills the supervisor and starts the next.
func (s *system) killSupervisor() {
	s.t.Helper()
	_ = s.supervisor.Process.Kill()
	_ = s.supervisor.Wait()
	s.supervise()
}

func (s *system) killContainerd() {
	s.t.Helper()
	_ = s.containerd.Process.Kill()
	_ = s.containerd.Wait()
	s.startContainerd()
}

// order gives an order whose answer may be lost.
func (s *system) order(verb, name string) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _ = control.Unix(testSocket).Call(ctx, control.Request{Verb: verb, Names: []string{name}})
	}()
	return done
}

// processes returns the processes of this PID namespace whose command lines contain what.
func processes(t *testing.T, what string) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		text, err := os.ReadFile(path)
		if pid, perr := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && perr == nil && strings.Contains(string(text), what) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// twoProcesses waits until two processes run counting, and returns them. More have its
// command line for a moment: the runtime before it executes the shell, and children of
// the shell before they execute their programs.
func twoProcesses(t *testing.T) []int {
	t.Helper()
	all := processes(t, counting)
	for deadline := time.Now().Add(time.Minute); len(all) != 2 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		all = processes(t, counting)
	}
	return all
}

// Supervisor and containerd are killed at any instant of an order: the order can be given
// again, there is one container in the end, and the other service keeps running.
func TestKillsDuringOrders(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSystem(t, map[string]string{"web": counting, "other": counting}, nil)
		s.until("web", "running", running)
		other := s.until("other", "running", running)
		kills := []func(){s.killSupervisor, s.killContainerd, func() { s.killContainerd(); s.killSupervisor() }}
		for i := range 36 {
			verb := []string{control.Restart, control.Stop, control.Start, control.Restart}[i%4]
			done := s.order(verb, "web")
			time.Sleep(time.Duration(i*i%47) * time.Millisecond)
			kills[i%3]()
			<-done
			if i%2 == 0 {
				continue // in the state that the kill has left
			}
			s.until("web", "settled", func(v control.Service) bool { return running(v) || v.State == "stopped" })
		}
		for _, verb := range []string{control.Stop, control.Start} {
			s.until("web", "known", func(control.Service) bool { return true })
			if r := s.ask(verb, "web"); r.Code != 0 {
				s.fail("%s: %+v", verb, r)
			}
		}
		web := s.until("web", "running", running)
		if shims := processes(t, "\x00-id\x00web\x00"); len(shims) != 1 {
			t.Errorf("%d shims of web", len(shims))
		}
		all := twoProcesses(t)
		if len(all) != 2 {
			t.Errorf("processes %v, want those of web (%d) and other (%d)", all, web.PID, other.PID)
		}
		if now := s.until("other", "running", running); now.PID != other.PID || !sameTime(now.Since, other.Since) {
			t.Errorf("the other service was %+v and is %+v", other, now)
		}
		if got := numbers(t, "other.out.log"); len(got) == 0 {
			t.Error("the other service has printed nothing")
		}
		s.end()
		numbers(t, "other.out.log")
	})
}

// numbers checks that a log of counting has every number once, and returns them.
func numbers(t *testing.T, name string) (all []string) {
	t.Helper()
	all = strings.Fields(logOf(t, name))
	for i, word := range all {
		if word != strconv.Itoa(i) {
			t.Errorf("%s: number %d is %q", name, i, word)
			return all
		}
	}
	return all
}

// untilCounts waits until counting has started for the nth time, and handles its stop
// signal.
func untilCounts(t *testing.T, log string, n int) {
	t.Helper()
	begun := func() int { return strings.Count("\n"+strings.ReplaceAll(logOf(t, log), "\n", "\n\n"), "\n0\n") }
	for deadline := time.Now().Add(time.Minute); begun() < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("counting has not begun %d times", n)
		}
	}
}

// A killed shim ends its service and no other: the processes of the container are gone
// before the next container is made.
func TestKilledShim(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSystem(t, map[string]string{"web": counting, "other": counting}, nil)
		before := s.until("web", "running", running)
		other := s.until("other", "running", running)
		shims := processes(t, "\x00-id\x00web\x00")
		if len(shims) != 1 {
			t.Fatalf("shims %v", shims)
		}
		if err := syscall.Kill(shims[0], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		after := s.until("web", "restarted", func(v control.Service) bool { return running(v) && v.PID != before.PID })
		if after.Restarts < 1 {
			t.Errorf("after: %+v", after)
		}
		all := twoProcesses(t)
		if len(all) != 2 {
			t.Errorf("processes %v, want the new one (%d) and the one of other (%d)", all, after.PID, other.PID)
		}
		if now := s.until("other", "running", running); now.PID != other.PID {
			t.Errorf("the other service was %+v and is %+v", other, now)
		}
	})
}

// A containerd that hangs does not delay a stop, and is killed when it is needed.
func TestStoppedContainerd(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSystem(t, map[string]string{"web": counting, "other": counting}, nil)
		s.until("web", "running", running)
		other := s.until("other", "running", running)
		untilCounts(t, "web.out.log", 1)
		if err := s.containerd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		restarted := s.order(control.Restart, "web")
		_ = s.containerd.Wait() // Only the supervisor kills it.
		s.startContainerd()
		<-restarted
		s.until("web", "running", running)
		if now := s.until("other", "running", running); now.PID != other.PID {
			t.Errorf("the other service was %+v and is %+v", other, now)
		}
		untilCounts(t, "web.out.log", 2)
		// A shutdown does not wait for it.
		if err := s.containerd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		s.end()
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("the stop took %v", took)
		}
		if left := processes(t, counting); len(left) != 0 {
			t.Errorf("processes %v are left", left)
		}
		_ = s.containerd.Process.Kill()
		_ = s.containerd.Wait()
	})
}
