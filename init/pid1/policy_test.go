package pid1

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/testvm/nstest"
)

// ends maps the policies that shut the system down to /init's exit code.
var ends = map[string]int{"reboot": codeReboot, "poweroff": codeDone, "halt": codeDone}

// If the failure of a container means a shutdown, no container, script or service after
// it runs. The boot role asks /init, whether that is the first process or not.
func TestOnbootFailureShutsDown(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, tc := range []struct {
			policy, line, annotation string
			notFirst                 bool
		}{
			{"reboot", "", "on-failure=reboot", false}, {"poweroff", "", "on-failure=poweroff", false}, {"halt", "", "on-failure=halt", false},
			{"reboot", "", "on-failure=reboot", true}, {"halt", "keelson.onboot=halt", "", true},
			{"reboot", "keelson.onboot=reboot", "", false},
			{"poweroff", "keelson.onboot=reboot", "on-failure=poweroff", false},
			{"reboot", "keelson.rescue=reboot", "on-failure=rescue", false},
		} {
			t.Run(tc.policy+" "+tc.line, func(t *testing.T) {
				dir := system(t, map[string]string{"etc/init.d/015-after": shell + "echo a script ran\n"})
				container(t, dir, "/containers/onboot/000-good", "exit 0", "on-failure=reboot")
				container(t, dir, "/containers/onboot/001-bad", "echo bad; exit 3", tc.annotation)
				container(t, dir, "/containers/onboot/002-never", "exit 0")
				container(t, dir, "/containers/services/web", "exec sleep 1000")
				s := nstest.Boot(t, dir, nstest.Options{CmdLine: tc.line, NotFirst: tc.notFirst})
				if code := s.Wait(); code != ends[tc.policy] {
					t.Errorf("exit code %d", code)
				}
				s.Line("shutdown mounts: unmounted")
				got := events(s.Console(), "onboot", "service", "script", "ready", "degraded", "boot")
				wantEvents(t, got, "onboot 000-good: exited 0", "onboot 001-bad: exited 3",
					"onboot all: failed: containers from 002-never on were not run", "boot: ")
			})
		}
	})
}

// Attempts have pauses between them. The output of all of them is in the log, and is
// shown once. The time limit applies to each attempt.
func TestOnbootAttempts(t *testing.T) {
	dir := system(t, nil)
	container(t, dir, "/containers/onboot/000-recovers", `printf x >>/run/tries; echo try; test "$(cat /run/tries)" = xxx`, "retries=5", "restart.delay=10ms")
	container(t, dir, "/containers/onboot/001-hangs", "echo hangs; exec sleep 1000", "timeout=1s", "retries=1", "stop.timeout=0s", "on-failure=continue")
	container(t, dir, "/containers/onboot/002-broken", "exit 0", "on-failure=explode", "ready=notify")
	container(t, dir, "/containers/services/web", "exec sleep 1000", "timeout=5s")
	s := nstest.Boot(t, dir, nstest.Options{CmdLine: "keelson.onboot=explode keelson.rescue=perhaps"})
	s.Stage("ready")
	up := s.Console()
	wantEvents(t, events(up, "onboot"),
		"onboot 000-recovers: exited 1", "onboot 000-recovers: exited 1", "onboot 000-recovers: exited 0",
		"onboot 001-hangs: failed: timeout after 1s", "onboot 001-hangs: failed: timeout after 1s", "onboot 002-broken: exited 0")
	if n := strings.Count("\n"+up, "\ntry\n"); n != 3 {
		t.Errorf("the output of %d attempts is shown, want 3", n)
	}
	for _, words := range []string{"attempt 2 of 6 in 10ms (keelson.retries=5)", "attempt 3 of 6 in 20ms", "it took 3 attempts",
		"2 attempts failed, continuing (keelson.on-failure=continue); log: /var/log/onboot/onboot.001-hangs.out.log",
		"keelson.onboot=explode", "keelson.rescue=perhaps", "keelson.on-failure: bad value",
		"annotation keelson.ready: value", "annotation keelson.timeout: value"} {
		s.Line(words)
	}
	if log := s.File("/run/log/onboot/onboot.000-recovers.out.log"); log != "try\ntry\ntry\n" {
		t.Errorf("log %q", log)
	}
	if r := s.File("/run/keelson/onboot/000-recovers.json"); !strings.Contains(r, `"attempts":3,"decision":"it took 3 attempts"`) {
		t.Errorf("result %s", r)
	}
	const want = "onboot 001-hangs: failed: timeout after 1s"
	if list := s.Output("/usr/bin/service", "list"); !strings.Contains(list, want) || strings.Contains(list, "recovers") {
		t.Errorf("service list:\n%s", list)
	}
	if list := s.Output("/usr/bin/service", "boot"); !strings.Contains(list, "2 attempts failed, continuing (keelson.on-failure=continue)") {
		t.Errorf("service boot:\n%s", list)
	}
	s.Signal(unix.SIGUSR2)
	s.Wait()
}

// During the shutdown, retries and time limits apply, and no failure stops the shutdown.
func TestShutdownContinuesAfterFailures(t *testing.T) {
	dir := system(t, nil)
	container(t, dir, "/containers/onshutdown/000-bad", `exit 1`, "on-failure=reboot", "retries=1", "restart.delay=10ms")
	container(t, dir, "/containers/onshutdown/001-hangs", "exec sleep 1000", "timeout=1s", "stop.timeout=0s", "on-failure=rescue")
	container(t, dir, "/containers/onshutdown/002-good", "exit 0")
	s := nstest.Boot(t, dir, nstest.Options{CmdLine: "keelson.onboot=reboot,retries=7 keelson.rescue"})
	s.Stage("rescue", "ready")
	began := time.Now()
	s.Signal(syscall.SIGUSR2)
	if code, took := s.Wait(), time.Since(began); code != codeDone || took > onshutdownLimit {
		t.Errorf("exit code %d after %v", code, took)
	}
	s.Line("shutdown mounts: unmounted")
	got := events(s.Console(), "shutdown")
	wantEvents(t, got[:5], "shutdown: power off", "shutdown 000-bad: exited 1", "shutdown 000-bad: exited 1",
		"shutdown 001-hangs: failed: timeout after 1s", "shutdown 002-good: exited 0")
	for _, annotation := range []string{"keelson.on-failure=reboot", "keelson.on-failure=rescue"} {
		s.Line("setting ignored", annotation, "has no effect at shutdown")
	}
}
