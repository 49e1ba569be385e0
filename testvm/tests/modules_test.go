package tests

import (
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// asModules are file systems and devices of LinuxKit's contract whose drivers
// Debian's kernel has as modules.
const asModules = `
onboot:
  - name: binfmt
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "ls /binfmt_misc/register /config /fuse; cat /dev/fuse >/dev/null || true; test -c /dev/loop-control; losetup -f"]
    capabilities: [CAP_SYS_ADMIN, CAP_DAC_OVERRIDE]
    devices: [{path: all, type: a}]
    binds: ["/proc/sys/fs/binfmt_misc:/binfmt_misc", "/sys/kernel/config:/config", "/sys/fs/fuse/connections:/fuse", "/dev:/dev"]
  - name: blocked
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "ip link add v0 type veth; ! ip link add d0 type dummy"]
    net: new
    capabilities: [CAP_NET_ADMIN]
services:
  AGENT
files:
  - path: etc/modprobe.d/blocked.conf
    contents: "# Not on this machine.\ninstall dummy /bin/false\n"
`

// What the contract promises is there although its drivers are modules: file
// systems before the first onboot container, devices when they are opened. What
// modprobe.d blocks is not loaded when a container makes the kernel ask for it.
func TestContractFromModules(t *testing.T) {
	image := buildFor(t, target{arch: qemu.AMD64, modules: "default, binfmt_misc, configfs, fuse"}, "as-modules", asModules, toolbox(t))
	v := vmtest.Boot(t, machine(image))
	v.Stage(timeline.Ready)
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Onboot && e.Result != "exited 0" {
			t.Errorf("%v:\n%s", e, v.File("/var/log/onboot/onboot."+e.Name+".log"))
		}
	}
	if modules := v.File("/proc/modules"); strings.Contains("\n"+modules, "\ndummy ") {
		t.Errorf("a module is loaded that modprobe.d blocks:\n%s", modules)
	}
	known := v.File("/proc/filesystems")
	for _, fs := range []string{"binfmt_misc", "configfs", "fusectl"} {
		if !strings.Contains(known, "\t"+fs+"\n") {
			t.Errorf("the kernel has no %s:\n%s", fs, known)
		}
	}
	checkMounts(t, v, "v2")
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}
