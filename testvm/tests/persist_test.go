package tests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// persistent mounts a disk on /var while containerd is running.
const persistent = `
onboot:
  - name: first
    image: dir:PAYLOAD
    command: ["/testapp", "print", "first out", "first err"]
    readonly: true
  VARDISK
services:
  AGENT
  - name: talks
    image: dir:PAYLOAD
    command: ["/testapp", "print", "service out", "service err"]
    readonly: true
    annotations: {keelson.restart: never}
`

// A disk that an onboot container mounts on /var stores logs and containerd's data; the
// files of one boot do not disturb the next.
func TestVarOnADisk(t *testing.T) {
	t.Parallel()
	c := machine(t, build(t, "persistent", persistent))
	disk := filepath.Join(t.TempDir(), "var.img")
	c.Disks = []qemu.Disk{{Path: disk, Size: 64 << 20}}
	for boot := 1; boot <= 2; boot++ {
		v := vmtest.Boot(t, c)
		v.Stage(timeline.Ready)
		v.Line("service talks: exited 0")
		if mounts := v.File("/proc/1/mounts"); !strings.Contains(mounts, "/dev/vda /var ext4") {
			t.Fatalf("the disk is not on /var:\n%s", mounts)
		}
		want := strings.Repeat("service out\n", boot)
		until(t, func() string { // Output is copied to the log independently of the service.
			if out := v.File("/var/log/talks.out.log"); out != want {
				return fmt.Sprintf("boot %d: the log of the service is %q, want %q", boot, out, want)
			}
			return ""
		})
		if out := v.File("/var/log/onboot/onboot.000-first.out.log"); out != "first out\n" {
			t.Errorf("boot %d: the log of the onboot container is %q", boot, out)
		}
		if db := v.File("/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"); !strings.Contains(db, "talks") {
			t.Error("containerd's database is not on the disk")
		}
		if text := v.File("/var/run/keelson/timeline"); text == "" {
			t.Error("there is no /var/run on the disk")
		}
		v.SignalInit(sigUSR2)
		v.Exit(vm.PoweredDown)
	}
	checkClean(t, disk)
}
