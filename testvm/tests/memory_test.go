package tests

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"keelson/testvm/agent"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// hungry is an image with a service that takes all memory when it gets a signal, one that takes more than
// its limit, and others that must not be killed for it.
const hungry = `
onboot:
  - name: score
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "read x </proc/self/oom_score_adj; echo onboot has $x"]
    readonly: true
services:
  AGENT
  - name: chosen
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    oomScoreAdj: 77
    readonly: true
  - name: hog
    image: dir:PAYLOAD
    command: ["/testapp", "hog"]
    readonly: true
    annotations:
      keelson.restart: never
      keelson.ready: log:^waiting
  - name: eater
    image: dir:PAYLOAD
    command: ["/testapp", "hog", "eater"]
    resources: {unified: {"memory.high": "33554432"}}
    readonly: true
    annotations:
      keelson.ready: log:^waiting
      keelson.stop.timeout: 1s
`

// A service that takes all memory is killed and the reason is reported; no other process
// is killed. One that only waits for memory, at the limit of its own, is restarted.
func TestMemoryExhausted(t *testing.T) {
	t.Parallel()
	dir := overlay(t, "hungry-root", map[string]string{
		"etc/init.d/030-late": "#!/bin/busybox sh\nread x </proc/self/oom_score_adj; read y </proc/self/cgroup; echo script has $x in $y\n",
	})
	c := machine2(t, build(t, "hungry", hungry, dir))
	c.Memory = 384
	c.Append += " keelson.reserve=on keelson.pressure=5%/2s"
	v := vmtest.Boot(t, c)
	v.Stage("ready", "degraded")
	v.Line("onboot has 0")
	v.Line("script has 0 in 0::/$")
	for _, name := range []string{"hog", "eater"} {
		until(t, func() string { // On a busy host its first start may take too long.
			r, err := v.Exec(vmtest.Context(t), "/usr/bin/service", "start", name)
			if err != nil || r.Code != 0 {
				return fmt.Sprintf("cannot start %s: %s (%v)", name, r.Stderr, err)
			}
			return ""
		})
	}
	var before map[string]string
	until(t, func() (problem string) {
		before, problem = scores(t, v)
		return problem
	})
	eat(t, v, "/testapp", "hog", "eater")
	v.Line(`service eater: memory pressure: it has reached its limit of memory, 32\.0 MiB, and has waited for memory for [0-9]+ % of the last 10 s; is stopped`)
	until(t, func() string {
		if list := inGuest(t, v, "/usr/bin/service", "list"); !regexp.MustCompile(`eater +running`).MatchString(list) {
			return "eater does not run again: " + list
		}
		return ""
	})
	if got := inGuest(t, v, "/usr/bin/service", "events", "eater"); !strings.Contains(got, "pressure") || !strings.Contains(got, "memory pressure: it has reached its limit") {
		t.Errorf("events of eater: %s", got)
	}
	if got := inGuest(t, v, "/usr/bin/service", "status", "eater"); !strings.Contains(got, ": memory pressure: it has reached its limit") {
		t.Errorf("status of eater: %s", got)
	}
	eat(t, v, "/testapp", "hog")
	v.Line(`service hog: failed: killed by SIGKILL \(out of memory\)`)
	until(t, func() string {
		after, problem := scores(t, v)
		if problem == "" && !maps.Equal(after, before) {
			problem = fmt.Sprintf("processes were %v and are %v", before, after)
		}
		return problem
	})
	for _, name := range []string{"containerd", "service"} { // PID 1 starts them again, in the same cgroup.
		kill(t, v, name)
	}
	until(t, func() string {
		after, problem := scores(t, v)
		if problem == "" && len(slices.DeleteFunc(slices.Collect(maps.Keys(after)), func(key string) bool { return before[key] != "" })) != 2 {
			problem = fmt.Sprintf("processes were %v and are %v: want another containerd and supervisor", before, after)
		}
		return problem
	})
	protected(t, v)
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// eat tells the process with this command line to take memory.
func eat(t *testing.T, v *vmtest.VM, args ...string) {
	t.Helper()
	for _, p := range processes(t, v) {
		if slices.Equal(p.Args, args) {
			if err := v.Client().Signal(vmtest.Context(t), p.PID, sigUSR1); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no process %v", args)
}

// protected checks the protection of the cgroup of the core, and shows what it uses.
func protected(t *testing.T, v *vmtest.VM) {
	t.Helper()
	const dir = "/sys/fs/cgroup/keelson.core/"
	for file, want := range map[string]string{"memory.min": "50331648", "cpu.weight": "1000"} {
		if got := strings.TrimSpace(v.File(dir + file)); got != want {
			t.Errorf("%s of the core is %s, want %s", file, got, want)
		}
	}
	t.Logf("the core uses %s bytes", strings.TrimSpace(v.File(dir+"memory.current")))
	for line := range strings.Lines(v.File(dir + "memory.stat")) {
		if f := strings.Fields(line); slices.Contains([]string{"anon", "file", "kernel", "shmem", "kernel_stack", "slab", "pagetables"}, f[0]) {
			t.Log(f)
		}
	}
}

// kill kills the process whose program has this name.
func kill(t *testing.T, v *vmtest.VM, name string) {
	t.Helper()
	for _, p := range processes(t, v) {
		if len(p.Args) > 0 && filepath.Base(p.Args[0]) == name {
			if err := v.Client().Signal(vmtest.Context(t), p.PID, int(syscall.SIGKILL)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// thrashing is an image with swap, and a service that takes more memory than there is.
const thrashing = `
onboot:
  - name: swap
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "/bin/busybox mkswap /dev/vda; /bin/busybox swapon /dev/vda"]
    capabilities: [CAP_SYS_ADMIN]
    devices: [{path: all, type: b}]
    binds: ["/dev:/dev"]
services:
  AGENT
  - name: other
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    readonly: true
  - name: leaky
    image: dir:PAYLOAD
    command: ["/testapp", "hog", "leaky"]
    readonly: true
    annotations:
      keelson.ready: log:^waiting
      keelson.stop.timeout: 1s
`

// When a service takes so much memory that the machine only swaps, it is restarted, and others are not. The
// core keeps its memory.
func TestMemoryPressure(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	c := machine(t, build(t, "thrashing", thrashing))
	c.Memory = 384
	c.Disks = []qemu.Disk{{Path: filepath.Join(t.TempDir(), "swap.img"), Size: 8 << 30}}
	c.Append += " keelson.reserve=on keelson.pressure=on"
	v := vmtest.Boot(t, c)
	v.Stage("ready")
	pids := func(name string) (all []int) {
		for _, p := range processes(t, v) {
			if slices.Contains(p.Args, name) {
				all = append(all, p.PID)
			}
		}
		return all
	}
	before := pids("sleep")
	eat(t, v, "/testapp", "hog", "leaky")
	v.Line(`service leaky: memory pressure: memory is short: [0-9.]+ MiB of [0-9.]+ MiB are available, and the service holds [0-9.]+ [MG]iB; is stopped`)
	until(t, func() string {
		if list := inGuest(t, v, "/usr/bin/service", "list"); !regexp.MustCompile(`leaky +running`).MatchString(list) {
			return "leaky does not run again: " + list
		}
		return ""
	})
	if after := pids("sleep"); len(after) == 0 || !slices.Equal(after, before) {
		t.Errorf("the other service was process %v and is %v", before, after)
	}
	if got := strings.TrimSpace(v.File("/sys/fs/cgroup/keelson.core/memory.swap.current")); got != "0" {
		t.Errorf("%s bytes of the core are swapped out", got)
	}
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// scores returns the OOM scores of the processes that keep the system up, and of services,
// which are those of their bundles. There is a problem if one is wrong, or a process is in a wrong cgroup. A short-lived
// program of keelson counts as one process too many.
func scores(t *testing.T, v *vmtest.VM) (found map[string]string, problem string) {
	t.Helper()
	found = map[string]string{}
	for _, p := range processes(t, v) {
		name, want := scored(p)
		if name == "" {
			continue
		}
		text, err := v.ReadFile(vmtest.Context(t), fmt.Sprintf("/proc/%d/oom_score_adj", p.PID))
		got := strings.TrimSpace(string(text))
		found[name+" "+strconv.Itoa(p.PID)] = got
		if err != nil || got != want {
			problem = fmt.Sprintf("oom_score_adj of %s %d is %q, want %s: %v", name, p.PID, got, want, err)
		}
		cgroup := "0::/" + name
		switch {
		case want == "-999":
			cgroup = "0::/keelson.core"
		case name == "testapp":
			cgroup = "0::/chosen"
		}
		text, err = v.ReadFile(vmtest.Context(t), fmt.Sprintf("/proc/%d/cgroup", p.PID))
		if got := strings.TrimSpace(string(text)); err != nil || got != cgroup {
			problem = fmt.Sprintf("%s %d is in the cgroup %q, want %s: %v", name, p.PID, got, cgroup, err)
		}
	}
	if len(found) != 7 {
		problem = fmt.Sprintf("found processes %v, want 7", found)
	}
	return found, problem
}

// scored returns the name of a process and its expected oom_score_adj; nothing for other
// processes and those of the services hog and eater.
func scored(p agent.Process) (name, want string) {
	if len(p.Args) == 0 || slices.ContainsFunc(p.Args, func(a string) bool { return a == "hog" || a == "eater" }) {
		return "", ""
	}
	switch name = filepath.Base(p.Args[0]); name {
	case "init", "containerd", "service", "containerd-shim-runc-v2":
		return name, "-999"
	case "agent":
		return name, "0"
	case "testapp":
		return name, "77"
	}
	return "", ""
}
