// Package vmtest boots machines in tests. A machine ends with its test, and a failed test
// shows the console.
package vmtest

import (
	"context"
	"regexp"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/agent"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
)

// Patience bounds every wait of a VM. It is long because TCG on a busy host is slow.
const Patience = 10 * time.Minute

// VM is a machine. Its failures fail the test.
type VM struct {
	*vm.VM
	t testing.TB
}

// Boot starts a machine that ends with t.
func Boot(t testing.TB, c vm.Config) *VM {
	t.Helper()
	tier.VM(t)
	program, pkg := qemu.Program(archOf(t, c))
	tier.Tool(t, program, pkg)
	v, err := vm.Boot(Context(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		v.Close()
		t.Logf("the machine used %.1f s of processor time", v.CPUTime().Seconds())
		if t.Failed() {
			t.Logf("console of the guest:\n%s", v.Console())
			keepFailed(t, v.Console(), c.Disks)
		}
	})
	return &VM{VM: v, t: t}
}

func archOf(t testing.TB, c vm.Config) string {
	if c.Arch != "" {
		return c.Arch
	}
	arch, err := qemu.DetectArch(c.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	return arch
}

// Context returns a context that ends with the test or after Patience.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Stage waits for one of the stages.
func (v *VM) Stage(stages ...string) timeline.Event {
	v.t.Helper()
	e, err := v.WaitStage(Context(v.t), stages...)
	if err != nil {
		v.t.Fatal(err)
	}
	return e
}

// Line waits for a line that matches.
func (v *VM) Line(pattern string) string {
	v.t.Helper()
	line, err := v.WaitConsole(Context(v.t), regexp.MustCompile(pattern))
	if err != nil {
		v.t.Fatal(err)
	}
	return line
}

// Exit waits for the guest's end and fails the test unless it ends in the given way.
func (v *VM) Exit(want vm.Exit) {
	v.t.Helper()
	got, err := v.WaitExit(Context(v.t))
	if err != nil {
		v.t.Fatal(err)
	}
	if got != want {
		v.t.Fatalf("the guest %s, want: %s", got, want)
	}
}

// Client waits until the guest's agent answers and returns it.
func (v *VM) Client() *agent.Client {
	v.t.Helper()
	c, err := v.Agent(Context(v.t))
	if err != nil {
		v.t.Fatal(err)
	}
	return c
}

// File reads a file of the guest.
func (v *VM) File(path string) string {
	v.t.Helper()
	data, err := v.ReadFile(Context(v.t), path)
	if err != nil {
		v.t.Fatal(err)
	}
	return string(data)
}

// Output runs a program in the guest and returns its output. An exit code other than 0
// fails the test.
func (v *VM) Output(args ...string) string {
	v.t.Helper()
	r, err := v.Exec(Context(v.t), args...)
	if err != nil {
		v.t.Fatal(err)
	}
	if r.Code != 0 || r.Signal != "" {
		v.t.Fatalf("%q in the guest ended with code %d %s: %s%s", args, r.Code, r.Signal, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// SignalInit sends a signal to PID 1.
func (v *VM) SignalInit(signal int) {
	v.t.Helper()
	if err := v.Client().Signal(Context(v.t), 1, signal); err != nil {
		v.t.Fatal(err)
	}
}
