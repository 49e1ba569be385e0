package supervisor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
	"keelson/testvm/nstest"
)

// sameTime compares times of two clocks, which are not read at the same instant.
func sameTime(a, b time.Time) bool { return a.Sub(b).Abs() < 100*time.Millisecond }

func running(v control.Service) bool { return v.State == "running" }

func logOf(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("/var/log/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const brokenBundle = "(broken)"

const wellBehaved = "trap 'exit 0' TERM; echo up; echo bad >&2; while :; do sleep 0.05; done"

func TestServicesLive(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSystem(t, map[string]string{
			"web":      wellBehaved,
			"stubborn": "trap '' TERM; while :; do sleep 0.05; done",
			"once":     "exit 0",
		}, map[string]string{"keelson.stop.timeout": "300ms"})
		web := s.until("web", "running", running)
		s.until("stubborn", "running", running)
		s.until("once", "exited", func(v control.Service) bool { return v.State == "exited" && v.LastExit == "exited 0" })
		if ready := s.stages(timeline.Ready); len(ready) != 1 || ready[0] != "3 services running" {
			t.Errorf("announced as ready: %q", ready)
		}

		// A crashed service is restarted soon, and keeps its mounts and logs.
		s.untilLog("web.out.log", "up\n")
		s.untilLog("web.log", "bad\n")
		begin := time.Now()
		if err := syscall.Kill(web.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		again := s.until("web", "restarted", func(v control.Service) bool { return running(v) && v.PID != web.PID })
		t.Logf("running again %v after the crash", time.Since(begin))
		if again.Restarts < 1 || again.LastExit != "killed by SIGKILL" {
			t.Errorf("after a crash %+v", again)
		}
		s.untilLog("web.out.log", "up\nup\n")
		s.untilLog("web.log", "bad\nbad\n")

		// Orders.
		if r := s.ask(control.Stop, "web"); r.Code != 0 {
			t.Errorf("stop: %+v", r)
		}
		if r := s.ask(control.List, "web"); r.Code != control.CodeNotRunning || r.Services[0].State != "stopped" || r.Services[0].LastExit != "exited 0" {
			t.Errorf("after stop: %+v", r)
		}
		begin = time.Now()
		if r := s.ask(control.Stop, "stubborn"); r.Code != 0 {
			t.Errorf("stop: %+v", r)
		}
		if took := time.Since(begin); took < 300*time.Millisecond || took > time.Minute {
			t.Errorf("a stubborn service took %v to stop", took)
		}
		if v := s.ask(control.List, "stubborn").Services[0]; v.LastExit != "killed by SIGKILL" {
			t.Errorf("after the timeout: %+v", v)
		}
		if r := s.ask(control.Restart, "web", "stubborn"); r.Code != 0 {
			t.Errorf("restart: %+v", r)
		}
		if r := s.ask(control.Start, "none"); r.Code != control.CodeNotFound {
			t.Errorf("unknown service: %+v", r)
		}
		s.write(filepath.Join(s.dir, "later", "README"), "no bundle")
		if r := s.ask(control.Start, "later"); r.Code != control.CodeFailed || !strings.Contains(r.Error, "config.json") {
			t.Errorf("broken bundle: %+v", r)
		}

		// Shutdown.
		begin = time.Now()
		s.end()
		t.Logf("all stopped after %v", time.Since(begin))
		if mounted, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounted), s.dir) {
			t.Errorf("mounts are left:\n%s", mounted)
		}
	})
}

func TestKilledSupervisorTakesOver(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSystem(t, map[string]string{
			"count": "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done",
			"off":   wellBehaved,
		}, map[string]string{"keelson.stop.timeout": "100ms"})
		before := s.until("count", "running", running)
		s.until("off", "running", running)
		s.ask(control.Stop, "off")
		if err := s.supervisor.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = s.supervisor.Wait()
		s.supervise()
		after := s.until("count", "running", running)
		if after.PID != before.PID || !sameTime(after.Since, before.Since) {
			t.Errorf("before %+v, after %+v", before, after)
		}
		if v := s.ask(control.List, "off").Services[0]; v.State != "stopped" {
			t.Errorf("a stopped service is %+v", v)
		}
		if ready := s.stages(timeline.Ready); len(ready) != 1 {
			t.Errorf("announced as ready: %q", ready)
		}

		// The next supervisor notices the end.
		if err := syscall.Kill(after.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		again := s.until("count", "restarted", func(v control.Service) bool { return running(v) && v.PID != before.PID && v.Restarts >= 1 })
		waitForChild(t, again.PID) // So it has counted.
		s.ask(control.Stop, "count")
		wholeCount(t)
	})
}

// wholeCount checks that the log has 0, 1, 2, … twice, with no line missing or torn.
func wholeCount(t *testing.T) {
	t.Helper()
	want, starts := 0, 0
	for line := range strings.Lines(logOf(t, "count.out.log")) {
		if line == "0\n" {
			want, starts = 0, starts+1
		}
		if line != fmt.Sprintf("%d\n", want) {
			t.Fatalf("line %q where %d was due", line, want)
		}
		want++
	}
	if starts != 2 {
		t.Errorf("%d starts in the log", starts)
	}
}

func TestContainerdMayDie(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSystem(t, map[string]string{"web": wellBehaved, "db": wellBehaved}, map[string]string{"keelson.stop.timeout": "5m"})
		before := s.until("web", "running", running)
		s.until("db", "running", running)
		s.untilLog("web.out.log", "up\n")
		for range 2 {
			_ = s.containerd.Process.Kill()
			_ = s.containerd.Wait()
			s.startContainerd()
		}
		// Both keep running, and their ends are noticed again.
		if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.until("web", "restarted", func(v control.Service) bool { return running(v) && v.Restarts >= 1 })
		if v := s.ask(control.List, "db").Services[0]; !running(v) || v.Restarts != 0 {
			t.Errorf("the other service: %+v", v)
		}
		s.untilLog("web.out.log", "up\nup\n") // It handles its stop signal by then.
		// Services stop without containerd too.
		_ = s.containerd.Process.Kill()
		_ = s.containerd.Wait()
		begin := time.Now()
		s.end()
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("stopping without containerd took %v", took)
		}
	})
}

func TestBrokenBundleCostsOnlyItself(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSystem(t, map[string]string{"good": wellBehaved, "broken": brokenBundle}, nil)
		s.until("good", "running", running)
		v := s.until("broken", "failed", func(v control.Service) bool { return v.State == "failed" })
		if !strings.Contains(v.Error, "field root") {
			t.Errorf("reason %q", v.Error)
		}
		if got := s.stages(timeline.Degraded); len(got) != 1 || got[0] != "1 of 2 services running; failed: broken" {
			t.Errorf("announced as degraded: %q", got)
		}
		text, err := os.ReadFile("/run/keelson/state/good.json")
		var state saved
		if err != nil || json.Unmarshal(text, &state) != nil || state.Pid == 0 {
			t.Errorf("state %s, %v", text, err)
		}
	})
}
