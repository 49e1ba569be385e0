package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
	"keelson/testvm/nstest"
)

// stay is the end of a script that runs until it is stopped.
const stay = "; trap 'exit 0' TERM; while :; do sleep 0.05; done"

// The last service waits for services with each kind of readiness.
func TestReadinessOfRealServices(t *testing.T) {
	testapp := buildTestapp(t)
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		var all []string
		for name, what := range map[string]struct{ script, ready string }{
			"notify": {"sleep 0.2; testapp notify READY=1 STATUS=serving" + stay, "notify"},
			"exec":   {"sleep 0.2; touch /tmp/ok" + stay, "exec:/bin/busybox test -e /tmp/ok"},
			"tcp":    {"sleep 0.2; testapp serve :8080 hello & true" + stay, "tcp:8080"},
			"http":   {"sleep 0.2; touch /tmp/ok; busybox httpd -p 127.0.0.1:8080 -h /tmp" + stay, "http:8080/ok"},
			"log":    {"sleep 0.2; echo ready for work" + stay, "log:^ready for"},
		} {
			s.add(name, what.script, map[string]string{"keelson.ready": what.ready, "keelson.ready.timeout": "1m"})
			all = append(all, name)
		}
		s.addTestapp("notify", testapp)
		s.addTestapp("tcp", testapp)
		s.add("last", "echo up"+stay, map[string]string{"keelson.requires": strings.Join(all, ",")})
		s.begin()
		s.until("last", "running", running)
		events, err := timeline.Read("/run/keelson/timeline")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, e := range events {
			if e.Stage != timeline.Service || e.Result != "running" {
				continue
			}
			seen[e.Name] = true
			if e.Name != "last" && e.Took < 200*time.Millisecond {
				t.Errorf("%s was ready after %v", e.Name, e.Took)
			}
			if e.Name == "last" && len(seen) != len(all)+1 {
				t.Errorf("ready before the last: %v", seen)
			}
		}
		if v := s.ask(control.List, "notify").Services[0]; v.Status != "serving" {
			t.Errorf("status %+v", v)
		}
		s.end()
	})
}

// An unhealthy service is restarted: because a check fails, because it misses the watchdog
// that it set itself, and because it misses the one of its annotations.
func TestHealthOfRealServices(t *testing.T) {
	testapp := buildTestapp(t)
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		// Each is healthy when it runs for the second time.
		const second = "trap 'exit 0' TERM; if [ -e /tmp/second ]; then while :; do %s; sleep 0.05; done; fi; touch /tmp/second; "
		s.add("exec", fmt.Sprintf(second, "true")+"sleep 0.1; touch /tmp/sick; sleep 1000 & wait", map[string]string{
			"keelson.health": "exec:/bin/busybox sh -c '[ ! -e /tmp/sick ] || ! rm /tmp/sick'", "keelson.health.interval": "100ms", "keelson.health.retries": "1",
		})
		s.add("own", fmt.Sprintf(second, "testapp notify READY=1 WATCHDOG=1")+"testapp notify READY=1 WATCHDOG_USEC=300000; sleep 1000 & wait",
			map[string]string{"keelson.ready": "notify"})
		s.add("asked", fmt.Sprintf(second, "testapp notify READY=1 WATCHDOG=1")+"testapp notify READY=1; sleep 1000 & wait", map[string]string{
			"keelson.ready": "notify", "keelson.health": "notify", "keelson.health.interval": "400ms", "keelson.health.retries": "1",
		})
		s.addTestapp("own", testapp)
		s.addTestapp("asked", testapp)
		s.begin()
		for _, name := range []string{"exec", "asked", "own"} {
			s.until(name, "restarted", func(v control.Service) bool { return v.Restarts >= 1 })
		}
		s.until("exec", "running", running)
		s.until("asked", "running", running)
		s.untilEvent("exec", "unhealthy: a health check failed: exec")
		s.untilEvent("own", "unhealthy: no sign of life for 300ms")
		s.untilEvent("asked", "unhealthy: a health check failed: notify")
		s.end()
	})
}

// untilEvent waits for an event of a service on the timeline whose result begins so.
func (s *system) untilEvent(name, result string) {
	s.t.Helper()
	var events []timeline.Event
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		events, _ = timeline.Read("/run/keelson/timeline")
		for _, e := range events {
			if e.Name == name && strings.HasPrefix(e.Result, result) {
				return
			}
		}
	}
	s.fail("%s was never %q: %+v", name, result, events)
}

// buildTestapp builds the program that speaks sd_notify(3) in containers.
func buildTestapp(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(testappEnv); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "testapp")
	cmd := exec.Command("go", "build", "-o", path, "../../testvm/testapp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv(testappEnv, path)
	return path
}

const testappEnv = "KEELSON_TEST_TESTAPP"

// addTestapp copies it into the bundle of a service.
func (s *system) addTestapp(name, path string) {
	s.t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, name, "rootfs/bin/testapp"), data, 0o755)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
