package tests

import (
	"path/filepath"
	"syscall"
	"testing"

	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// A supervisor that is stuck lets the watchdog reset the machine, and the next boot says
// so. A power-off stops the watchdog.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	tier.Long(t)                                                    // The generic kernel boots twice. init/pid1/watchdog tests the decisions.
	to := target{arch: qemu.AMD64, kernel: "deb:linux-image-amd64"} // The cloud kernel has no watchdog.
	c := machine(t, buildFor(t, to, "watchdog", "services:\n  AGENT\n"))
	c.Watchdog = true
	c.Append += " keelson.watchdog=10s"
	v := vmtest.Boot(t, c)
	v.Line(`watchdog i6300ESB timer: armed, timeout 10s`)
	v.Stage("ready")
	stopSupervisor(t, v)
	v.Line(`the watchdog is not fed any more and resets the machine.*the supervisor does not answer within`)
	v.Line(`before this boot: watchdog i6300ESB timer: has reset the machine`)
	until(t, func() string { // The agent of the boot before may not have ended its last answer.
		if err := v.Client().Signal(vmtest.Context(t), 1, sigUSR2); err != nil {
			return "cannot order a power-off: " + err.Error()
		}
		return ""
	})
	v.Exit(vm.PoweredDown)
}

// stopSupervisor stops the process of the supervisor as a debugger does.
func stopSupervisor(t *testing.T, v *vmtest.VM) {
	t.Helper()
	for _, p := range processes(t, v) {
		if len(p.Args) == 2 && filepath.Base(p.Args[0]) == "service" && p.Args[1] == "supervise" {
			if err := v.Client().Signal(vmtest.Context(t), p.PID, int(syscall.SIGSTOP)); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("there is no supervisor")
}
