package tests

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"keelson/testvm/agent"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// hungry is an image with a service that takes all memory when it gets a signal, and
// others that must not be killed for it.
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
`

// A service that takes all memory is killed and the reason is reported; no other process
// is killed.
func TestMemoryExhausted(t *testing.T) {
	t.Parallel()
	dir := overlay(t, "hungry-root", map[string]string{
		"etc/init.d/030-late": "#!/bin/busybox sh\nread x </proc/self/oom_score_adj; echo script has $x\n",
	})
	c := machine2(t, build(t, "hungry", hungry, dir))
	c.Memory = 384
	v := vmtest.Boot(t, c)
	v.Stage("ready", "degraded")
	v.Line("onboot has 0")
	v.Line("script has 0")
	until(t, func() string { // On a busy host its first start may take too long.
		r, err := v.Exec(vmtest.Context(t), "/usr/bin/service", "start", "hog")
		if err != nil || r.Code != 0 {
			return fmt.Sprintf("cannot start hog: %s (%v)", r.Stderr, err)
		}
		return ""
	})
	var before map[string]string
	until(t, func() (problem string) {
		before, problem = scores(t, v)
		return problem
	})
	for _, p := range processes(t, v) {
		if len(p.Args) > 1 && p.Args[1] == "hog" {
			if err := v.Client().Signal(vmtest.Context(t), p.PID, sigUSR1); err != nil {
				t.Fatal(err)
			}
		}
	}
	v.Line(`service hog: failed: killed by SIGKILL \(out of memory\)`)
	until(t, func() string {
		after, problem := scores(t, v)
		if problem == "" && !maps.Equal(after, before) {
			problem = fmt.Sprintf("processes were %v and are %v", before, after)
		}
		return problem
	})
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// scores returns the OOM scores of the processes that keep the system up, and of services,
// which are those of their bundles. There is a problem if one is wrong. A short-lived
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
	}
	if len(found) != 7 {
		problem = fmt.Sprintf("found processes %v, want 7", found)
	}
	return found, problem
}

// scored returns the name of a process and its expected oom_score_adj; nothing for other
// processes and those of the service hog.
func scored(p agent.Process) (name, want string) {
	if len(p.Args) == 0 || slices.ContainsFunc(p.Args, func(a string) bool { return a == "hog" }) {
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
