package tests

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// A panic in PID 1 does not become a kernel panic: the process re-executes itself, its
// children are not affected, the kernel log has the panic, and the machine can be powered
// off.
func TestPanicInInit(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	dir := vmtest.Folder(t, "faulty-root")
	cmd := exec.Command("go", "build", "-tags", "faults", "-trimpath", "-o", filepath.Join(dir, "init"), "keelson/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build init: %v\n%s", err, out)
	}
	v := vmtest.Boot(t, machine(t, build(t, "faulty", "services:\n  AGENT\n", dir)))
	v.Stage("ready")
	var before map[int]string
	until(t, func() string { // Programs of the boot may be about to end.
		last := before
		if before = pids(t, v); !maps.Equal(last, before) {
			return fmt.Sprintf("the processes change: %v, %v", last, before)
		}
		return ""
	})
	if err := v.WriteFile(vmtest.Context(t), "/tmp/keelson-fault", []byte("reaper"), 0o644); err != nil {
		t.Fatal(err)
	}
	v.SignalInit(int(syscall.SIGCHLD))
	v.Line("PID 1 has re-executed itself")
	for _, want := range []string{"PID 1 panicked", "fault.Here", "PID 1 has re-executed itself"} {
		until(t, func() string { // The console may show a message before the kernel log has it.
			if log, err := v.Client().KernelLog(vmtest.Context(t)); err != nil || !strings.Contains(log, want) {
				return fmt.Sprintf("the kernel log does not have %q: %v", want, err)
			}
			return ""
		})
	}
	// A child of the supervisor looks like a second supervisor until it calls execve(2).
	until(t, func() string {
		if after := pids(t, v); !maps.Equal(before, after) {
			return fmt.Sprintf("processes were %v and are %v", before, after)
		}
		return ""
	})
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// pids returns the processes by id, without kernel threads, which have no arguments, and
// without the role of init that runs briefly when a device appears.
func pids(t *testing.T, v *vmtest.VM) map[int]string {
	t.Helper()
	found := map[int]string{}
	for _, p := range processes(t, v) {
		if len(p.Args) > 0 && !(len(p.Args) == 2 && p.Args[1] == "devices") {
			found[p.PID] = filepath.Base(p.Args[0])
		}
	}
	return found
}
