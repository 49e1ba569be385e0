package pid1

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keelson/runtime/oomscore"
	"keelson/testvm/nstest"
)

// score returns the oom_score_adj of a process.
func score(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	must(t, err)
	return strings.TrimSpace(string(text))
}

// mayProtect reports whether this process may lower its oom_score_adj, which needs
// CAP_SYS_RESOURCE.
func mayProtect() bool {
	if oomscore.SetOwn(oomscore.Protected) != nil {
		return false
	}
	return oomscore.SetOwn(oomscore.Ordinary) == nil
}

// Init's daemons are protected from the OOM killer; containers have the value of their
// bundle, and nothing inherits the protection. If lowering the value is not allowed, all
// values stay as they are.
func TestProtection(t *testing.T) {
	const report = shell + "read x </proc/self/oom_score_adj; echo $(basename $0) has $x\n"
	dir := system(t, map[string]string{"etc/init.d/001-early": report, "etc/init.d/030-late": report, "etc/shutdown.d/001-down": report})
	must(t, os.Symlink("sh", filepath.Join(dir, "bin/basename")))
	container(t, dir, "/containers/onboot/000-one", "read x </proc/self/oom_score_adj; echo onboot has $x")
	container(t, dir, "/containers/services/plain", "exec sleep 1001")
	container(t, dir, "/containers/services/chosen", "exec sleep 1002")
	bundle := filepath.Join(dir, "containers/services/chosen/config.json")
	config, err := os.ReadFile(bundle)
	must(t, err)
	must(t, os.WriteFile(bundle, []byte(strings.Replace(string(config), `"process":{`, `"process":{"oomScoreAdj":77,`, 1)), 0o644))
	// Ready only if commands inside the container have no protection.
	nstest.Bundle(t, filepath.Join(dir, "containers/services/asked"), "exec sleep 1003", map[string]string{
		"keelson.ready": "exec:/bin/sh -c 'read x </proc/self/oom_score_adj; test $x -ge 0'",
	}, `{"mounts":[{"destination":"/containers/services/asked/rootfs","source":"/containers/services/asked/rootfs","options":["bind"]}]}`)
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage("ready")
	daemons, shims, plain := "-999", "-999", "0"
	if !mayProtect() {
		daemons, shims, plain = "0", "1", "1" // A shim sets its value to that of containerd plus one.
	}
	for what, want := range map[string]struct {
		pids  []int
		score string
	}{
		"init":       {[]int{s.PID()}, daemons},
		"containerd": {s.Named("containerd"), daemons},
		"supervisor": {s.Named("service", "supervise"), daemons},
		"shims":      {s.Named("containerd-shim-runc-v2"), shims},
		"plain":      {s.Named("sleep", "1001"), plain},
		"chosen":     {s.Named("sleep", "1002"), "77"},
	} {
		if len(want.pids) == 0 {
			t.Errorf("no process of %s", what)
		}
		for _, pid := range want.pids {
			if got := score(t, pid); got != want.score {
				t.Errorf("%s %d has %s, want %s", what, pid, got, want.score)
			}
		}
	}
	s.Line("030-late has 0")
	s.Signal(syscall.SIGUSR2)
	s.Wait()
	for _, line := range []string{"001-early has 0", "onboot has 0", "001-down has 0"} {
		s.Line(line)
	}
}
