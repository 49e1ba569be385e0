package tests

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// A panic in PID 1 does not become a kernel panic: the process re-executes itself, its
// children are not affected, the kernel log has the panic, and the machine can be powered
// off.
func TestPanicInInit(t *testing.T) {
	tier.VM(t)
	dir := vmtest.Folder(t, "faulty-root")
	cmd := exec.Command("go", "build", "-tags", "faults", "-trimpath", "-o", filepath.Join(dir, "init"), "keelson/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build init: %v\n%s", err, out)
	}
	v := vmtest.Boot(t, machine(build(t, "faulty", "services:\n  AGENT\n", dir)))
	v.Stage("ready")
	before := pids(t, v)
	if err := v.WriteFile(vmtest.Context(t), "/tmp/keelson-fault", []byte("reaper"), 0o644); err != nil {
		t.Fatal(err)
	}
	v.SignalInit(int(syscall.SIGCHLD))
	v.Line("PID 1 has re-executed itself")
	log, err := v.Client().KernelLog(vmtest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PID 1 panicked", "fault.Here", "PID 1 has re-executed itself"} {
		if !strings.Contains(log, want) {
			t.Errorf("the kernel log does not have %q", want)
		}
	}
	// A child of the supervisor looks like a second supervisor until it calls execve(2).
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		after := pids(t, v)
		if maps.Equal(before, after) {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("processes were %v and are %v", before, after)
			break
		}
	}
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
