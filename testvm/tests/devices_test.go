package tests

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
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
  - name: labelled
    image: deb:busybox-static
    command: ["/bin/busybox", "sleep", "1000000"]
    annotations: {keelson.requires: "device:/dev/disk/by-label/stick"}
`

// Devices that appear late get their drivers: while onboot containers run, while services
// run, and after the supervisor has been killed. A service waits for a device and a file.
func TestLateDevices(t *testing.T) {
	t.Parallel()
	to := target{arch: qemu.AMD64, kernel: "deb:linux-image-amd64", modules: "default, ftdi_sio", compression: image.None} // The cloud kernel has no USB.
	config := machine2(t, buildFor(t, to, "late-devices", waitingForDevice))
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
	if e := v.Stage("ready"); e.Result != "1 services running, 2 waiting for a condition" {
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
	nameDisks(t, v)
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

// Network cards and card readers that are plugged in get their drivers, with firmware of the image, and may be removed.
func TestPluggedControllers(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	to := target{arch: qemu.AMD64, kernel: "deb:linux-image-amd64", modules: "default, e1000e, e100", compression: image.None}
	firmware := vmtest.Folder(t, "firmware")
	put(t, filepath.Join(firmware, "lib/firmware/e100/d102e_ucode.bin"), []byte("x"), 0o644)
	config := machineOf(t, qemu.AMD64, buildFor(t, to, "plugged-controllers", "services:\n  AGENT\n", firmware))
	config.Machine = "pc" // Its PCI bus supports hot-plugging.
	v := vmtest.Boot(t, config)
	v.Stage("ready")
	ctx := vmtest.Context(t)
	cards := func() int { return strings.Count(v.File("/proc/net/dev"), "\n") }
	before := cards()
	for _, one := range []struct {
		driver, module string
		there          func() bool
	}{
		{"e1000e", "e1000e", func() bool { return cards() > before }},
		{"sdhci-pci", "sdhci_pci", func() bool {
			_, err := v.ReadFile(ctx, "/sys/class/mmc_host/mmc0/device/uevent")
			return err == nil
		}},
	} {
		if err := v.PlugDevice(ctx, map[string]any{"driver": one.driver, "id": "plugged-" + one.module}); err != nil {
			t.Fatal(err)
		}
		loaded(t, v, one.module)
		for _, want := range []bool{true, false} {
			until(t, func() string {
				if there := one.there(); there != want {
					return fmt.Sprintf("%s: its device is there: %v, want %v", one.driver, there, want)
				}
				return ""
			})
			if !want {
				break
			}
			if err := v.Unplug(ctx, "plugged-"+one.module); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkFirmware(t, v)
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// The power button of arm64's machine, on a GPIO line (gpio-keys), powers off.
func TestGPIOButton(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	tier.Long(t)
	to := target{arch: qemu.ARM64, kernel: "deb:linux-image-arm64", modules: "default", compression: image.None}
	config := machineOf(t, qemu.ARM64, buildFor(t, to, "gpio-button", "services:\n  AGENT\n"))
	config.OwnButton = true
	v := vmtest.Boot(t, config)
	v.Stage("ready")
	loaded(t, v, "gpio_keys")
	if err := v.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(v.Console(), "power button pressed") {
		t.Errorf("it powers off for another reason:\n%s", v.Console())
	}
}

// checkFirmware brings up a network card whose driver requests firmware: the kernel gets the file of the image, which
// has one byte.
func checkFirmware(t *testing.T, v *vmtest.VM) {
	t.Helper()
	ctx := vmtest.Context(t)
	if err := v.PlugDevice(ctx, map[string]any{"driver": "i82551", "id": "plugged-e100", "mac": "52:54:00:12:34:99"}); err != nil {
		t.Fatal(err)
	}
	loaded(t, v, "e100")
	until(t, func() string {
		cards, err := v.Client().ReadDir(ctx, "/sys/class/net")
		for _, card := range cards {
			if mac, err := v.ReadFile(ctx, "/sys/class/net/"+card+"/address"); err == nil && strings.TrimSpace(string(mac)) == "52:54:00:12:34:99" {
				_ = v.WriteFile(ctx, "/sys/class/net/"+card+"/flags", []byte("0x1003"), 0) // It fails, since the firmware is wrong.
				return ""
			}
		}
		return fmt.Sprintf("the network card has not come: %v, %v", cards, err)
	})
	until(t, func() string {
		text, err := v.Client().KernelLog(ctx)
		if err != nil || !strings.Contains(text, `Firmware "e100/d102e_ucode.bin" has wrong size 1`) {
			return fmt.Sprintf("the kernel has not read the firmware: %v\n%s", err, text[max(0, len(text)-1000):])
		}
		return ""
	})
}

// nameDisks adds and removes disks and a serial port, and checks their names, which are those of
// udev. A service waits for one of them.
func nameDisks(t *testing.T, v *vmtest.VM) {
	t.Helper()
	ctx := vmtest.Context(t)
	const uuid = "11111111-2222-4333-8444-555555555555"
	content := filepath.Join(t.TempDir(), "content")
	if out, err := exec.Command("/sbin/mke2fs", "-q", "-t", "ext4", "-L", "stick", "-U", uuid, content, "4M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	add := func(driver, id string, more map[string]any) {
		t.Helper()
		if err := v.PlugDisk(ctx, driver, id, content, more); err != nil {
			t.Fatal(err)
		}
	}
	named := func(links map[string]string) {
		t.Helper()
		until(t, func() string {
			const busybox = "/containers/onboot/000-wait/lower/usr/bin/busybox"
			r, err := v.Exec(ctx, busybox, "find", "/dev/disk", "/dev/serial", "-type", "l", "-exec", busybox, "readlink", "-f", "{}", ";", "-print")
			if err != nil {
				return err.Error()
			}
			lines := strings.Fields(r.Stdout)
			for link, node := range links {
				i := slices.Index(lines, "/dev/"+link)
				switch {
				case i < 1 && node != "":
					return fmt.Sprintf("there is no %s: %v", link, lines)
				case i >= 1 && lines[i-1] != "/dev/"+node:
					return fmt.Sprintf("%s leads to %s, want %q", link, lines[i-1], node)
				}
			}
			return ""
		})
	}
	if err := v.PlugDevice(ctx, map[string]any{"driver": "qemu-xhci", "id": "usb"}); err != nil {
		t.Fatal(err)
	}
	add("usb-storage", "stick", map[string]any{"bus": "usb.0", "port": "1"})
	named(map[string]string{"disk/by-label/stick": "sda", "disk/by-uuid/" + uuid: "sda", "disk/by-id/usb-QEMU_QEMU_HARDDISK_stick-0:0": "sda"})
	v.Line("service labelled: running")
	if err := v.PlugSerial(ctx, map[string]any{"driver": "usb-serial", "id": "serial", "serial": "7", "always-plugged": true, "bus": "usb.0", "port": "2"}); err != nil {
		t.Fatal(err)
	}
	named(map[string]string{"serial/by-id/usb-QEMU_QEMU_USB_SERIAL_7-if00-port0": "ttyUSB0"})
	add("virtio-blk-pci", "fixed", nil) // It has precedence over a stick.
	named(map[string]string{"disk/by-label/stick": "vda", "disk/by-id/virtio-fixed": "vda"})
	add("nvme", "fast", nil)
	named(map[string]string{"disk/by-label/stick": "vda", "disk/by-id/nvme-QEMU_NVMe_Ctrl_fast": "nvme0n1"})
	if err := v.Unplug(ctx, "fixed"); err != nil {
		t.Fatal(err)
	}
	named(map[string]string{"disk/by-label/stick": "nvme0n1", "disk/by-id/virtio-fixed": ""})
	if err := errors.Join(v.Unplug(ctx, "fast"), v.Unplug(ctx, "stick"), v.Unplug(ctx, "serial")); err != nil {
		t.Fatal(err)
	}
	named(map[string]string{"disk/by-label/stick": "", "disk/by-uuid/" + uuid: "", "disk/by-id/usb-QEMU_QEMU_HARDDISK_stick-0:0": "",
		"serial/by-id/usb-QEMU_QEMU_USB_SERIAL_7-if00-port0": ""})
	v.Line("service labelled: requires device:/dev/disk/by-label/stick, which is not met any more")
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
