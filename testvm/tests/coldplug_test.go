package tests

import (
	"regexp"
	"testing"

	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// coldplugYAML has an onboot container that looks the module of each device up as LinuxKit's mdev and
// modprobe do: by one modprobe of busybox for each alias. The kernel has all of them by then, so that
// this is without the time to load them.
const coldplugYAML = `onboot:
  - name: modprobe
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "say() { echo \"<2>keelson-test: $*\" >/dev/kmsg; }; say begin; for f in $(busybox find /sys/devices -name modalias); do read -r a <$f; modprobe -q \"$a\"; done; say end; say $(busybox find /sys/devices -name modalias | busybox wc -l) devices"]
    env: ["PATH=/bin:/usr/bin"]
    capabilities: [CAP_SYS_MODULE]
    devices: [{path: all, type: c}]
    binds: ["/dev/kmsg:/dev/kmsg", "/lib/modules:/lib/modules:ro", "/sys:/sys:ro"]
services:
  - name: off
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "kill -USR2 1"]
    pid: host
    capabilities: [CAP_KILL]
`

// TestColdplugCost logs the virtual time that the drivers of a machine take (docs/devices.md), beside
// that of a loop over modprobe. It fails only if the boot does.
func TestColdplugCost(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	to := target{arch: qemu.AMD64, compression: image.None, cmdline: "console=ttyS0"}
	out := buildFor(t, to, "coldplug-cost", coldplugYAML)
	ctx := vmtest.Context(t)
	v, err := vm.Boot(ctx, vm.Config{Config: qemu.Config{Arch: qemu.AMD64, Kernel: out.Kernel, Initrd: out.Initrd,
		Append: vm.ConsoleArgs(out.Cmdline, qemu.ConsoleDevice(qemu.AMD64)) + " loglevel=7", Memory: 1024, VirtualTime: true, Seed: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.WaitExit(ctx); err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^.*(modules: |keelson-test: ).*$`).FindAllString(v.Console(), -1)
	if len(lines) < 4 {
		t.Errorf("the console has only %q", lines)
	}
	for _, line := range lines {
		t.Log(line)
	}
}
