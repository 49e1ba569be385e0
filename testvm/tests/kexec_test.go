package tests

import (
	"os"
	"path/filepath"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// A reboot with --kexec starts a kernel of the image with its own initrd and more on its command line. The machine
// does not leave QEMU, as it would in an ordinary reboot, and is powered off by a service of the other image.
func TestKexec(t *testing.T) {
	t.Parallel()
	other := build(t, "kexec-other", `
services:
  - name: off
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "grep -q kexec.marker /proc/cmdline && exec service poweroff; exec sleep 100000"]
    binds: ["/usr/bin/service:/usr/bin/service", "/run:/run"]
    env: ["PATH=/usr/bin:/bin"]
`)
	boot := vmtest.Folder(t, "kexec-boot")
	for name, file := range map[string]string{"kernel": other.Kernel, "initrd": other.Initrd} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(boot, "boot", name), data, 0o644)
	}
	v := vmtest.Boot(t, machine(t, build(t, "kexec", "services:\n  AGENT\n", boot)))
	v.Stage(timeline.Ready)
	v.Output("/usr/bin/service", "reboot", "--kexec", "--append", "kexec.marker")
	v.Exit(vm.PoweredDown)
}
