package tests

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

const waitingForDevice = `
onboot:
  - name: wait
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "echo '<2>keelson-test: waits' >/dev/kmsg; until grep -q ^virtio_rng /proc/modules; do sleep 0.1; done"]
    devices: [{path: all, type: c}]
    binds: ["/dev/kmsg:/dev/kmsg"]
services:
  AGENT
  - name: conditional
    image: deb:busybox-static
    command: ["/bin/busybox", "sleep", "1000000"]
    annotations: {keelson.requires: "device:/dev/hwrng, path:/run/condition"}
`

// Devices that appear late get their drivers: while onboot containers run, while services
// run, and after the supervisor has been killed. A service waits for a device and a file.
func TestLateDevices(t *testing.T) {
	t.Parallel()
	config := machine2(t, build(t, "late-devices", waitingForDevice))
	config.Machine = "pc" // Its PCI bus supports hot-plugging.
	config.Room = true
	v := vmtest.Boot(t, config)
	plug := func(driver string) {
		t.Helper()
		if err := v.Plug(vmtest.Context(t), driver); err != nil {
			t.Fatal(err)
		}
	}
	v.Line("keelson-test: waits")
	plug("virtio-rng-pci")
	if e := v.Stage("ready"); e.Result != "1 services running, 1 waiting for a condition" {
		t.Errorf("ready: %s", e.Result)
	}
	r, err := v.Exec(vmtest.Context(t), "/usr/bin/service", "status", "conditional") // It exits with 3, as it does not run.
	if err != nil || !strings.Contains(r.Stdout, "waits for path:/run/condition") || !strings.Contains(r.Stdout, " device:/dev/hwrng !path:/run/condition") {
		t.Errorf("service status: %+v, %v", r, err)
	}
	if err := v.WriteFile(vmtest.Context(t), "/run/condition", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	v.Line("service conditional: running")
	plug("virtio-balloon-pci")
	loaded(t, v, "virtio_balloon")
	plugCPUAndMemory(t, v)
	for _, p := range processes(t, v) {
		if len(p.Args) == 2 && p.Args[1] == "supervise" {
			if err := v.Client().Signal(vmtest.Context(t), p.PID, 9); err != nil {
				t.Fatal(err)
			}
		}
	}
	plug("virtio-scsi-pci")
	loaded(t, v, "virtio_scsi")
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// plugCPUAndMemory adds a CPU and memory and waits until both are used.
func plugCPUAndMemory(t *testing.T, v *vmtest.VM) {
	t.Helper()
	before := memoryTotal(t, v.File("/proc/meminfo"))
	ctx := vmtest.Context(t)
	if err := errors.Join(v.PlugCPU(ctx), v.PlugMemory(ctx, 256)); err != nil {
		t.Fatal(err)
	}
	v.Line("CPUs were added and are used")
	v.Line("memory was added and is used")
	if online := v.File("/sys/devices/system/cpu/online"); online != "0-2\n" {
		t.Errorf("CPUs %q are online, want 0-2", online)
	}
	until(t, func() string { // The line may be about the first of several blocks.
		if more := memoryTotal(t, v.File("/proc/meminfo")) - before; more != 256<<20 {
			return fmt.Sprintf("the memory grew by %d bytes, want 256 MiB", more)
		}
		return ""
	})
}

// loaded waits until a module is loaded.
func loaded(t *testing.T, v *vmtest.VM, module string) {
	t.Helper()
	until(t, func() string {
		if modules := v.File("/proc/modules"); !strings.Contains("\n"+modules, "\n"+module+" ") {
			return fmt.Sprintf("module %s was not loaded:\n%s", module, modules)
		}
		return ""
	})
}
