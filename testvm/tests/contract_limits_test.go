package tests

import (
	"fmt"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// limitedServices are services whose cgroups have limits.
const limitedServices = `  - name: hog
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "echo eating; exec tail /dev/zero"]
    resources: {memory: {limit: 16777216}}
    annotations: {keelson.restart: never}
  - name: victim
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "sh -c 'tail /dev/zero'; exec sleep 100000"]
    resources: {memory: {limit: 16777216}}
    annotations: {keelson.restart: never}
  - name: forks
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 100000 & done'; exec sleep 100000"]
    resources: {pids: {limit: 5}}
    annotations: {keelson.restart: never}
  - name: pods
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    readonly: true
    cgroupsPath: /pods
    resources: {memory: {limit: 67108864}, pids: {limit: 50}}
  - name: pod
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    readonly: true
    cgroupsPath: /pods/pod
    resources: {memory: {limit: 33554432}}
  - name: divided
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "cd /sys/fs/cgroup; mkdir -p box; echo 16777216 >box/memory.max; echo 5 >box/pids.max; sleep 100000 & echo $! >box/cgroup.procs; cat /proc/self/cgroup; wait"]
    cgroupsPath: /divided
    resources: {memory: {limit: 67108864}, pids: {limit: 50}}
    annotations: {keelson.delegate: "true", keelson.ready: "exec:/bin/busybox grep -q . /sys/fs/cgroup/box/cgroup.procs"}
  - name: weighed
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    readonly: true
    cgroupsPath: /eve/services/weighed
    resources: {cpu: {shares: 512}}
    runtime:
      cgroups: [/eve, /eve/services]
`

// cgroupV1 makes the system use cgroups of version 1.
const cgroupV1 = " linuxkit.unified_cgroup_hierarchy=0"

// With cgroups of version 1, the mounts of the contract exist and limits hold. One service is
// refused.
func TestLimitsOnCgroupV1(t *testing.T) {
	t.Parallel()
	c := machine(t, build(t, "limits-v1", "services:\n  AGENT\n"+limitedServices, toolbox(t)))
	c.Append += cgroupV1
	v := vmtest.Boot(t, c)
	v.Stage(timeline.Degraded)
	t.Run("mounts", func(t *testing.T) { checkMounts(t, v, "v1") })
	t.Run("limits", func(t *testing.T) { checkLimits(t, v, "v1") })
	t.Run("nested cgroups", func(t *testing.T) { checkNested(t, v, "v1") })
	t.Run("delegated cgroups", func(t *testing.T) { checkDelegated(t, v, "v1") })
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// limitFiles are the files of limits in each hierarchy, and their contents. runc converts
// 512 shares, half the default, to a weight of 59.
var limitFiles = map[string]map[string]string{
	"v2": {"/sys/fs/cgroup/eve/services/weighed/cpu.weight": "59\n", "/sys/fs/cgroup/%s/pids.max": "5\n"},
	"v1": {"/sys/fs/cgroup/cpu/eve/services/weighed/cpu.shares": "512\n", "/sys/fs/cgroup/pids/%s/pids.max": "5\n"},
}

func checkLimits(t *testing.T, v *vmtest.VM, version string) {
	v.Output("/usr/bin/busybox", "sh", "-c", "until service status hog | grep -q failed; do busybox usleep 50000; done")
	if out := v.Output("/usr/bin/service", "list"); !strings.Contains(out, "killed by SIGKILL (out of memory)") {
		t.Errorf("the service hog was not killed for its memory:\n%s", out)
	}
	// A process that the kernel kills is an event, with cgroups of version 2 also while the service
	// keeps running.
	killed := []string{"hog"}
	if version == "v2" {
		killed = append(killed, "victim")
	}
	for _, name := range killed {
		v.Output("/usr/bin/busybox", "sh", "-c", `until grep -q '"kind":"oom","name":"`+name+`"' /run/keelson/events; do busybox usleep 10000; done`)
	}
	v.Output("/usr/bin/service", "status", "victim") // It runs.
	v.Output("/usr/bin/busybox", "sh", "-c", "until grep -q fork /var/log/forks.log; do busybox usleep 10000; done")
	v.Output("/usr/bin/busybox", "sh", "-c", "until grep -q 'cannot make another process: its limit is 5 (linux.resources.pids.limit of ' /run/keelson/timeline; do busybox usleep 10000; done")
	if n := strings.Count(v.File("/run/keelson/timeline"), "cannot make another process"); n != 1 {
		t.Errorf("the limit of processes is reported %d times, want once", n)
	}
	forks := mainPID(t, v, "forks")
	cgroup := strings.TrimSpace(v.Output("/usr/bin/busybox", "sh", "-c", fmt.Sprintf(`grep -E "^0::|:pids:" /proc/%d/cgroup | head -n 1 | cut -d: -f3`, forks)))
	for path, want := range limitFiles[version] {
		if strings.Contains(path, "%s") {
			path = fmt.Sprintf(path, cgroup)
		}
		if got := v.File(path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
}

// nestedFiles are the limits of a service and of another in a cgroup below it.
var nestedFiles = map[string]map[string]string{
	"v2": {
		"/sys/fs/cgroup/pods/memory.max": "67108864\n", "/sys/fs/cgroup/pods/pids.max": "50\n", "/sys/fs/cgroup/pods/pod/memory.max": "33554432\n",
	},
	"v1": {
		"/sys/fs/cgroup/memory/pods/memory.limit_in_bytes": "67108864\n", "/sys/fs/cgroup/pids/pods/pids.max": "50\n",
		"/sys/fs/cgroup/memory/pods/pod/memory.limit_in_bytes": "33554432\n",
	},
}

// A service restarts while another runs in a cgroup below its own, and its limits hold
// for both.
func checkNested(t *testing.T, v *vmtest.VM, version string) {
	pod, pods := mainPID(t, v, "pod"), mainPID(t, v, "pods")
	v.Output("/usr/bin/service", "restart", "pods")
	if got := mainPID(t, v, "pods"); got == pods {
		t.Error("the service did not restart")
	}
	if got := mainPID(t, v, "pod"); got != pod {
		t.Errorf("the nested service was process %d and is %d", pod, got)
	}
	for path, want := range nestedFiles[version] {
		if got := v.File(path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
}

// delegatedFiles are the limits of a service with keelson.delegate, and those that it sets.
var delegatedFiles = map[string]string{
	"/sys/fs/cgroup/divided/memory.max": "67108864\n", "/sys/fs/cgroup/divided/pids.max": "50\n",
	"/sys/fs/cgroup/divided/keelson.own/box/memory.max": "16777216\n", "/sys/fs/cgroup/divided/keelson.own/box/pids.max": "5\n",
}

// A service divides its cgroup, and leaves nothing when it stops. With cgroups of version 1 it
// alone is refused.
func checkDelegated(t *testing.T, v *vmtest.VM, version string) {
	if version == "v1" {
		out := v.Output("/usr/bin/busybox", "sh", "-c", "service status divided || true")
		if !strings.Contains(out, "annotation keelson.delegate: ") || !strings.Contains(out, "cgroups of version 1") {
			t.Errorf("the service is not refused:\n%s", out)
		}
		return
	}
	for _, verb := range []string{"restart", "stop"} {
		if at := v.File(fmt.Sprintf("/proc/%d/cgroup", mainPID(t, v, "divided"))); at != "0::/divided/keelson.own/init\n" {
			t.Errorf("the first process is in %q", at)
		}
		for path, want := range delegatedFiles {
			if got := v.File(path); got != want {
				t.Errorf("%s holds %q, want %q", path, got, want)
			}
		}
		v.Output("/usr/bin/service", verb, "divided")
	}
	if inside := v.File("/var/log/divided.out.log"); inside != "0::/init\n0::/init\n" {
		t.Errorf("the service sees its cgroup as %q", inside)
	}
	v.Output("/usr/bin/busybox", "test", "!", "-e", "/sys/fs/cgroup/divided")
}
