package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"keelson/runtime/fdstore"
	"keelson/runtime/timeline"
	"keelson/services/control"
	"keelson/services/events"
	"keelson/testvm/nstest"
)

const (
	superviseEnv = "KEELSON_TEST_SUPERVISE" // the bundles' directory
	runtimeEnv   = "KEELSON_TEST_RUNTIME"   // path of an OCI runtime
	machineEnv   = "KEELSON_TEST_MACHINE"   // not empty: Options.Machine
	testSocket   = "/run/keelson/control.sock"
)

// TestMain makes the test binary a supervisor, which tests can kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv(superviseEnv); dir != "" {
		os.Exit(beSupervisor(dir))
	}
	os.Exit(m.Run())
}

func beSupervisor(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	descriptors, err := fdstore.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	journal := events.Open(events.Options{Dir: "/run/keelson"})
	s := New(Options{
		Descriptors: descriptors, Journal: journal, Machine: os.Getenv(machineEnv) != "",
		Dir: dir, Runtime: os.Getenv(runtimeEnv), Logger: slog.New(blockingHandler{slog.NewTextHandler(os.Stderr, nil)}),
		Stage: stageTemplate(templatesOf(dir)), Digest: digestOfTemplate(templatesOf(dir)), Policy: policyOf(dir),
		Events: func(e timeline.Event) {
			_ = timeline.Append("/run/keelson/timeline", e)
			fmt.Println(e)
		},
	})
	asking, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- (&control.Server{Handler: s, More: []control.Route{control.EventsRoute(journal)}}).Serve(asking, testSocket)
	}()
	err = s.Serve(ctx)
	cancel()
	<-done
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// system is a containerd, and a supervisor of bundles.
type system struct {
	t          *testing.T
	dir        string
	containerd *exec.Cmd
	supervisor *exec.Cmd
	keeps      *fdstore.Pair // descriptors for the next supervisor, as PID 1 does
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

// prepareSystem makes a system without services, and does not start it.
func prepareSystem(t *testing.T) *system {
	t.Helper()
	for _, name := range []string{"bin/containerd-shim-runc-v2", "libexec/containerd-shim-runc-v2", "bin/runc"} {
		nstest.Guest(t, "usr/"+name)
	}
	t.Setenv(stagerEnv, nstest.Guest(t, "usr/bin/service"))
	keeps, err := fdstore.NewPair()
	if err != nil {
		t.Fatal(err)
	}
	return &system{t: t, dir: filepath.Join(t.TempDir(), "services"), keeps: keeps}
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

// end makes the supervisor stop all services, and waits for its end.
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
	files, env := s.keeps.Files(3)
	s.supervisor.ExtraFiles, s.supervisor.Env = files, append(s.supervisor.Env, env...)
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
	r, err := control.Unix(testSocket).Call(ctx, control.Request{Verb: verb, Names: names})
	if err != nil {
		s.fail("%s %v: %v", verb, names, err)
	}
	return r
}

// until waits until good is true of a service.
func (s *system) until(name, what string, good func(control.Service) bool) control.Service {
	s.t.Helper()
	var last control.Response
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(testSocket); err != nil {
			continue
		}
		r, err := control.Unix(testSocket).Call(s.t.Context(), control.Request{Verb: control.List, Names: []string{name}})
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

// stages returns the results of a stage on the timeline.
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
