package tests

import (
	"testing"

	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// Signals to PID 1 mean what they mean to busybox's init.
func TestSignals(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal int
		want   vm.Exit
	}{
		{"SIGUSR1", sigUSR1, vm.Halted}, {"SIGUSR2", sigUSR2, vm.PoweredDown},
		{"SIGTERM", sigTERM, vm.Rebooted}, {"SIGINT", sigINT, vm.Rebooted},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := vmtest.Boot(t, plain(t))
			v.Stage("ready")
			v.SignalInit(c.signal)
			v.Exit(c.want)
		})
	}
}

// The hypervisor's power button powers the guest off.
func TestPowerButton(t *testing.T) {
	v := vmtest.Boot(t, plain(t))
	v.Stage("ready")
	if err := v.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
}

// The links to service do what they are called.
func TestPowerOffCommand(t *testing.T) {
	v := vmtest.Boot(t, plain(t))
	v.Stage("ready")
	v.Output("/sbin/poweroff")
	v.Exit(vm.PoweredDown)
}
