package nstest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"keelson/testvm/tier"
)

// WithoutInotify runs other tests of the package as root of a user namespace without
// inotify instances, then of one without inotify watches (namespaces(7),
// /proc/sys/user). They must pass in both.
func WithoutInotify(t *testing.T, tests ...string) {
	t.Helper()
	tier.Root(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []string{"max_inotify_instances", "max_inotify_watches"} {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-ec", "echo 0 >/proc/sys/user/"+limit+`; exec "$@"`, "sh",
			self, "-test.run=^("+strings.Join(tests, "|")+")$", "-test.v", "-test.count=1")
		one := []syscall.SysProcIDMap{{Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: one, GidMappings: one, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		if passed := strings.Count(string(out), "\n--- PASS: "); err != nil || passed != len(tests) {
			t.Errorf("%s=0: %d of %d tests pass: %v\n%s", limit, passed, len(tests), err, out)
		}
	}
}
