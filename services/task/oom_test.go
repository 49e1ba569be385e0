package task

import (
	"testing"

	"keelson/runtime/procfs"
)

func TestOOMFile(t *testing.T) {
	for text, want := range map[string]string{
		"0::/services.linuxkit/web\n": "/sys/fs/cgroup/services.linuxkit/web/memory.events",
		"0::/\n":                      "",
		"0::/pods\n":                  "/sys/fs/cgroup/pods/memory.events.local",
		"0::/pods/x\n":                "/sys/fs/cgroup/pods/x/memory.events",
		"5:cpu,cpuacct:/a\n4:memory:/a/b\n0::/a\n": "/sys/fs/cgroup/memory/a/b/memory.oom_control",
		"nonsense":        "",
		"0::/../../etc\n": "/sys/fs/cgroup/etc/memory.events",
	} {
		if got := oomFile(procfs.ParseCgroup(text), []string{"/pods", "/pods/x", "/podsy"}); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
