package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// A service that is a real container engine (examples/podman.yml) runs a container with a limit
// of its own in the cgroups that are delegated to it. It restarts, and leaves nothing when it is
// stopped.
func TestPodman(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	guestRootOf(t, "amd64")
	file := filepath.Join(vmtest.Repository(t), "examples/podman.yml")
	yaml, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(yaml), "services:\n", "services:\n"+strings.ReplaceAll(agentService, "PAYLOAD", payload(t, "amd64")), 1)
	text = strings.Replace(text, "init:\n", "init:\n  - dir:"+toolbox(t)+"\n", 1)
	out, err := image.Build(vmtest.Context(t), image.Options{YAML: []byte(text), File: file, Name: "podman", Arch: "amd64", OutDir: t.TempDir(), Compression: image.None})
	if err != nil {
		t.Fatal(err)
	}
	v := vmtest.Boot(t, machine(t, out))
	v.Stage(timeline.Ready)
	const traces = "find /sys/fs/cgroup -name '*libpod*'; ls -d /sys/fs/cgroup/podman /run/netns 2>/dev/null; ps -o comm | grep -E '^(podman|conmon|crun)'; " +
		"grep -E 'libpod|containers/storage' /proc/1/mountinfo; for p in /proc/[0-9]*; do readlink $p/ns/net; done | sort -u | tail -n +2; true"
	for _, verb := range []string{"restart", "stop"} {
		limits := v.Output("/usr/bin/busybox", "sh", "-c", "cat $(find /sys/fs/cgroup/podman/keelson.own -path '*libpod-*' -name memory.max)")
		if !strings.Contains(limits, "67108864\n") {
			t.Errorf("the limits of the cgroups of the container are %q", limits)
		}
		if got := v.File("/sys/fs/cgroup/podman/memory.max"); got != "536870912\n" {
			t.Errorf("the limit of the service is %q", got)
		}
		v.Output("/usr/bin/service", verb, "podman")
	}
	if log := v.File("/var/log/podman.out.log"); strings.Count(log, "the limit of this container is 67108864\n") != 2 {
		t.Errorf("the container prints %q", log)
	}
	if left := v.Output("/usr/bin/busybox", "sh", "-c", traces); left != "" {
		t.Errorf("left: %s", left)
	}
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}
