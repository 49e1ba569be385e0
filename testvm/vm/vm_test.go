package vm_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"keelson/testvm/agent"
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// The agent answers all calls, and the power button works.
func TestReadyGuest(t *testing.T) {
	v := vmtest.Boot(t, vmtest.Tiny(t, "ready"))
	if e := v.Stage("ready", "degraded"); e.Stage != "ready" {
		t.Fatalf("got stage %v", e)
	}
	useAgent(t, v)
	if err := v.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
	stages := ""
	for _, e := range v.Timeline() {
		stages += e.Stage + " "
	}
	if stages != "kernel service ready " {
		t.Errorf("timeline: %q", stages)
	}
}

func useAgent(t *testing.T, v *vmtest.VM) {
	ctx := vmtest.Context(t)
	if err := v.WriteFile(ctx, "/tmp/deep/file", []byte("some\x00bytes"), 0o640); err != nil {
		t.Fatal(err)
	}
	if got := v.File("/tmp/deep/file"); got != "some\x00bytes" {
		t.Errorf("read back %q", got)
	}
	if _, err := v.ReadFile(ctx, "/no/such"); err == nil || !strings.Contains(err.Error(), "/no/such") {
		t.Errorf("reading a missing file: %v", err)
	}
	log, err := v.KernelLog(ctx)
	if err != nil || !strings.Contains(log, "Linux version") {
		t.Errorf("kernel log: %v, %d bytes", err, len(log))
	}
	// /init is testapp, which has subcommands if it is not PID 1.
	if out := v.Output("/init", "print", "out"); out != "out\n" {
		t.Errorf("printed %q", out)
	}
	if r, err := v.Exec(ctx, "/init", "exit", "7"); err != nil || r.Code != 7 {
		t.Errorf("exit 7: %+v, %v", r, err)
	}
	if r, err := v.Exec(ctx, "/init", "crash"); err != nil || r.Signal != "SIGKILL" {
		t.Errorf("crash: %+v, %v", r, err)
	}
	if _, err := v.Exec(ctx, "/no/such/program"); err == nil {
		t.Error("running a missing program is no error")
	}
	_, err = v.Client().Exec(ctx, agent.ExecArgs{Args: []string{"/init", "sleep"}, Timeout: time.Second})
	if err == nil {
		t.Error("a program that does not end is no error")
	}
	list, err := v.Client().Processes(ctx)
	if err != nil || len(list) < 3 || list[0].Name != "init" || list[0].RSS == 0 {
		t.Errorf("processes: %v, %v", list, err)
	}
}

// The harness distinguishes the ways in which a guest ends.
func TestExits(t *testing.T) {
	for do, want := range map[string]vm.Exit{
		"poweroff": vm.PoweredDown, "reboot": vm.Rebooted, "halt": vm.Halted,
	} {
		t.Run(do, func(t *testing.T) {
			v := vmtest.Boot(t, vmtest.Tiny(t, do))
			v.Exit(want)
			// Every call that waits must fail immediately.
			if _, err := v.WaitStage(vmtest.Context(t), "ready"); !errors.Is(err, vm.ErrEnded) {
				t.Errorf("waiting on a guest that has ended: %v", err)
			}
		})
	}
}

// try is something that a guest does not do.
type try struct {
	do     func(t *testing.T, v *vmtest.VM) error
	want   error
	output string // must be in the last lines
}

// The harness fails when the guest does. Each case is a guest and what it does not do.
func TestFailures(t *testing.T) {
	short := func(t *testing.T, v *vmtest.VM) context.Context {
		v.Line("keelson: .* kernel")
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		t.Cleanup(cancel)
		return ctx
	}
	cases := map[string][]try{
		"panic": {{func(t *testing.T, v *vmtest.VM) error {
			_, err := v.WaitStage(vmtest.Context(t), "ready")
			return err
		}, vm.ErrPanic, "end Kernel panic"}, {func(t *testing.T, v *vmtest.VM) error {
			got, err := v.WaitExit(vmtest.Context(t))
			if got != vm.Panicked {
				t.Errorf("exit %q", got)
			}
			return err
		}, vm.ErrPanic, "Attempted to kill init"}, {func(t *testing.T, v *vmtest.VM) error {
			_, err := v.Exec(vmtest.Context(t), "/init", "exit", "0")
			return err
		}, vm.ErrPanic, "end Kernel panic"}},
		"hang": {{func(t *testing.T, v *vmtest.VM) error {
			_, err := v.WaitStage(short(t, v), "ready")
			return err
		}, context.DeadlineExceeded, "kernel"}, {func(t *testing.T, v *vmtest.VM) error {
			got, err := v.WaitExit(short(t, v))
			if got != vm.Hung {
				t.Errorf("exit %q", got)
			}
			return err
		}, context.DeadlineExceeded, "kernel"}},
		"degraded": {{func(t *testing.T, v *vmtest.VM) error {
			_, err := v.WaitStage(vmtest.Context(t), "ready")
			return err
		}, vm.ErrStage, "failed: broken"}},
		"fatal": {{func(t *testing.T, v *vmtest.VM) error {
			_, err := v.WaitStage(vmtest.Context(t), "ready", "degraded")
			return err
		}, vm.ErrStage, "asked to"}},
		"poweroff": {{func(t *testing.T, v *vmtest.VM) error {
			_, err := v.WaitConsole(vmtest.Context(t), regexp.MustCompile("never printed"))
			return err
		}, vm.ErrEnded, "Power down"}},
		"noagent": {{func(t *testing.T, v *vmtest.VM) error {
			v.Stage("ready")
			_, err := v.Exec(short(t, v), "/init", "exit", "0")
			return err
		}, context.DeadlineExceeded, "ready"}},
		"deaf": {{func(t *testing.T, v *vmtest.VM) error {
			v.Stage("ready")
			return v.PowerOff(short(t, v))
		}, context.DeadlineExceeded, "ready"}},
	}
	for do, tries := range cases {
		t.Run(do, func(t *testing.T) {
			v := vmtest.Boot(t, vmtest.Tiny(t, do))
			for _, c := range tries {
				c.check(t, v)
			}
		})
	}
}

// check checks that the guest fails, and that the error has its last lines.
func (c try) check(t *testing.T, v *vmtest.VM) {
	t.Helper()
	err := c.do(t, v)
	if !errors.Is(err, c.want) {
		t.Fatalf("got %v, want %v", err, c.want)
	}
	var f *vm.Failure
	if !errors.As(err, &f) || len(f.Console) == 0 || len(f.Console) > vm.FailureLines {
		t.Fatalf("the error carries no last lines: %v", err)
	}
	if !strings.Contains(strings.Join(f.Console, "\n"), c.output) {
		t.Errorf("the last lines do not have %q: %v", c.output, err)
	}
}

// Console, agent and power button work on arm64.
func TestReadyGuestARM64(t *testing.T) {
	v := vmtest.Boot(t, vmtest.TinyOn(t, qemu.ARM64, "ready"))
	v.Stage("ready", "degraded")
	if out := v.Output("/init", "print", "out"); out != "out\n" {
		t.Errorf("printed %q", out)
	}
	if err := v.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
}
