package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
	"keelson/testvm/nstest"
)

const (
	superviseEnv = "KEELSON_TEST_SUPERVISE" // the bundles' directory
	runtimeEnv   = "KEELSON_TEST_RUNTIME"   // path of an OCI runtime
	testSocket   = "/run/keelson/service.sock"
)

// TestMain lets the test binary be a supervisor that can be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(superviseEnv); dir != "" {
		os.Exit(beSupervisor(dir))
	}
	os.Exit(m.Run())
}

func beSupervisor(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := New(Options{
		Dir: dir, Runtime: os.Getenv(runtimeEnv), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Events: func(e timeline.Event) {
			_ = timeline.Append("/run/keelson/timeline", e)
			fmt.Println(e)
		},
	})
	asking, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(asking, testSocket, s) }()
	err := s.Serve(ctx)
	cancel()
	<-done
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// system is a containerd and a supervisor with bundles.
type system struct {
	t          *testing.T
	dir        string
	containerd *exec.Cmd
	supervisor *exec.Cmd
}

func newSystem(t *testing.T, services map[string]string, annotations map[string]string) *system {
	t.Helper()
	s := prepareSystem(t)
	for name, script := range services {
		s.add(name, script, annotations)
	}
	s.begin()
	return s
}

// prepareSystem makes one without services.
func prepareSystem(t *testing.T) *system {
	t.Helper()
	for _, name := range []string{"bin/containerd-shim-runc-v2", "libexec/containerd-shim-runc-v2", "bin/runc"} {
		nstest.Guest(t, "usr/"+name)
	}
	return &system{t: t, dir: filepath.Join(t.TempDir(), "services")}
}

func (s *system) add(name, script string, annotations map[string]string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, name)
	if script == brokenBundle {
		s.write(filepath.Join(dir, "config.json"), `{"root": 7}`)
		return
	}
	nstest.Bundle(s.t, dir, script, annotations, fmt.Sprintf(
		`{"mounts":[{"destination":"%s/rootfs","source":"%s/rootfs","options":["bind"]}]}`, dir, dir))
}

// begin starts containerd and the supervisor.
func (s *system) begin() {
	s.t.Helper()
	if err := os.MkdirAll("/run/keelson", 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.startContainerd()
	s.supervise()
	s.t.Cleanup(func() {
		if s.supervisor.ProcessState == nil {
			s.end()
		}
	})
}

// end tells the supervisor to stop everything, and waits for that.
func (s *system) end() {
	s.t.Helper()
	if err := s.supervisor.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	}
	if err := s.supervisor.Wait(); err != nil {
		s.t.Errorf("supervisor: %v", err)
	}
}

func (s *system) write(path, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) startContainerd() {
	s.t.Helper()
	s.containerd = exec.Command(nstest.Guest(s.t, "usr/bin/containerd"))
	s.containerd.Env = []string{"PATH=" + filepath.Join(nstest.GuestRoot(s.t), "usr/bin") + ":" + os.Getenv("PATH")}
	s.start(s.containerd, "/var/log/containerd.log")
}

func (s *system) supervise() {
	s.t.Helper()
	s.supervisor = exec.Command("/proc/self/exe")
	s.supervisor.Env = append(os.Environ(), superviseEnv+"="+s.dir, runtimeEnv+"="+nstest.Runc(s.t))
	s.start(s.supervisor, "/var/log/supervisor.log")
}

func (s *system) start(cmd *exec.Cmd, log string) {
	s.t.Helper()
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) fail(format string, args ...any) {
	s.t.Helper()
	for _, log := range []string{"/var/log/supervisor.log", "/var/log/containerd.log"} {
		text, _ := os.ReadFile(log)
		s.t.Logf("%s:\n%s", log, text[max(0, len(text)-4000):])
	}
	s.t.Fatalf(format, args...)
}

func (s *system) ask(verb string, names ...string) control.Response {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	r, err := control.Call(ctx, testSocket, control.Request{Verb: verb, Names: names})
	if err != nil {
		s.fail("%s %v: %v", verb, names, err)
	}
	return r
}

// until waits for a service to be as wanted.
func (s *system) until(name, what string, good func(control.Service) bool) control.Service {
	s.t.Helper()
	var last control.Response
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(testSocket); err != nil {
			continue
		}
		r, err := control.Call(s.t.Context(), testSocket, control.Request{Verb: control.List, Names: []string{name}})
		if err != nil {
			continue
		}
		if last = r; len(r.Services) == 1 && good(r.Services[0]) {
			return r.Services[0]
		}
	}
	s.fail("%s was never %s; last %+v", name, what, last)
	return control.Service{}
}

// sameTime allows for two clocks that are not read at the same instant.
func sameTime(a, b time.Time) bool { return a.Sub(b).Abs() < 100*time.Millisecond }

func running(v control.Service) bool { return v.State == "running" }

// stages are the results on the timeline of one stage.
func (s *system) stages(stage string) []string {
	events, err := timeline.Read("/run/keelson/timeline")
	if err != nil {
		s.t.Fatal(err)
	}
	var results []string
	for _, e := range events {
		if e.Stage == stage {
			results = append(results, e.Result)
		}
	}
	return results
}

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
			t.Errorf("ready said %q", ready)
		}

		// A crash is made good, quickly, and the mounts and logs are kept.
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
		if r := s.ask(control.Start, "nobody"); r.Code != control.CodeNotFound {
			t.Errorf("unknown service: %+v", r)
		}
		s.write(filepath.Join(s.dir, "later", "README"), "no bundle")
		if r := s.ask(control.Start, "later"); r.Code != control.CodeFailed || !strings.Contains(r.Error, "config.json") {
			t.Errorf("broken bundle: %+v", r)
		}

		// The way down.
		begin = time.Now()
		s.end()
		t.Logf("all stopped after %v", time.Since(begin))
		if mounted, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounted), s.dir) {
			t.Errorf("mounts are left:\n%s", mounted)
		}
	})
}

func (s *system) untilLog(name, want string) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		if text, err := os.ReadFile("/var/log/" + name); err == nil && string(text) == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := logOf(s.t, name); got != want {
		s.t.Errorf("%s holds %q, want %q", name, got, want)
	}
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
			t.Errorf("ready said %q", ready)
		}

		// It still notices the end.
		if err := syscall.Kill(after.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		again := s.until("count", "restarted", func(v control.Service) bool { return running(v) && v.PID != before.PID && v.Restarts >= 1 })
		waitForChild(t, again.PID) // So it has counted.
		s.ask(control.Stop, "count")
		wholeCount(t)
	})
}

// wholeCount: the log holds 0, 1, 2, … twice, no line lost or torn.
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
		// Both go on, and what happens to them is noticed again.
		if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.until("web", "restarted", func(v control.Service) bool { return running(v) && v.Restarts >= 1 })
		if v := s.ask(control.List, "db").Services[0]; !running(v) || v.Restarts != 0 {
			t.Errorf("the other service: %+v", v)
		}
		s.untilLog("web.out.log", "up\nup\n") // It heeds its signal by then.
		// Without containerd everything still stops.
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
			t.Errorf("degraded said %q", got)
		}
		text, err := os.ReadFile("/run/keelson/state/good.json")
		var state saved
		if err != nil || json.Unmarshal(text, &state) != nil || state.Pid == 0 {
			t.Errorf("state %s, %v", text, err)
		}
	})
}
