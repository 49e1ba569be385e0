package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// stacks is an image whose onboot containers leave disks in use in all the ways that
// outlive a container: see the scripts.
const stacks = `
onboot:
  - name: modules
    image: deb:busybox-static
    command: ["/bin/busybox", "modprobe", "-a", "loop", "dm_mod", "raid1"]
    binds: ["/lib/modules:/lib/modules"]
    capabilities: [all]
  - name: lost
    image: &tools deb:busybox-static,e2fsprogs,dmsetup,mdadm
    command: ["/bin/busybox", "sh", "/etc/stacks/lost.sh"]
    binds: ["/dev:/dev", "/etc/stacks:/etc/stacks"]
    capabilities: [all]
    devices: [{path: all, type: b}, {path: all, type: c}]
  - name: stacks
    image: *tools
    command: ["/bin/busybox", "sh", "/etc/stacks/stacks.sh"]
    binds: ["/dev:/dev", "/etc/stacks:/etc/stacks", "/var:/var:rshared,rbind"]
    rootfsPropagation: shared
    capabilities: [all]
    devices: [{path: all, type: b}, {path: all, type: c}]
services:
  AGENT
`

const stackTools = `set -ex
PATH=/usr/sbin:/usr/bin:/sbin:/bin
zeros() { dd if=/dev/zero of=$1 bs=1M count=$2 2>/dev/null; }
`

// The mounts of this script disappear with the container, but a loop device and swap keep
// the file systems in use. devtmpfs has no name /odd.
const lostScript = stackTools + `
mkdir /a /s
mount -t ext4 /dev/vda /a
zeros /a/file 8
losetup /dev/loop0 /a/file
mount -t ext4 /dev/vdb /s
mkdir /s/folder
for file in /s/folder/swap /s/device; do zeros $file 8; mkswap $file; done
swapon /s/folder/swap
losetup /dev/loop1 /s/device
mknod /odd b 7 1
swapon /odd
`

// On /dev/vdc: ext4, loop, ext4, loop, device-mapper, ext4, in which the lowest file system
// is mounted again. On /dev/vdd: ext4, two loop devices, md, device-mapper, ext4.
const stacksScript = stackTools + `
mkdir /var/c1 /var/c2 /var/c3 /var/d1 /var/d2
mount -t ext4 /dev/vdc /var/c1
zeros /var/c1/file 24
losetup /dev/loop2 /var/c1/file
mkfs.ext4 -q /dev/loop2
mount -t ext4 /dev/loop2 /var/c2
zeros /var/c2/file 12
losetup /dev/loop3 /var/c2/file
dmsetup create --noudevsync c --table '0 24576 linear /dev/loop3 0'
mkfs.ext4 -q /dev/dm-0
mount -t ext4 /dev/dm-0 /var/c3
echo kept >/var/c3/kept
mkdir /var/c3/again
mount -t ext4 /dev/vdc /var/c3/again
mount -t ext4 /dev/vdd /var/d1
zeros /var/d1/one 12
zeros /var/d1/two 12
losetup /dev/loop4 /var/d1/one
losetup /dev/loop5 /var/d1/two
mdadm --create /dev/md0 --run --assume-clean --level=1 --raid-devices=2 --data-offset=1M /dev/loop4 /dev/loop5
dmsetup create --noudevsync d --table '0 20480 linear /dev/md0 0'
mkfs.ext4 -q /dev/dm-1
mount -t ext4 /dev/dm-1 /var/d2
echo kept >/var/d2/kept
`

// After power-off all disks are clean: with swap on a device without a usable name and on a
// file of a disk that no mount shows, with a loop device on another, and with stacks of
// loop, device-mapper and md devices with file systems between them.
func TestStackedDisks(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	dir := vmtest.Folder(t, "stacks-root")
	put(t, filepath.Join(dir, "etc/stacks/lost.sh"), []byte(lostScript), 0o644)
	put(t, filepath.Join(dir, "etc/stacks/stacks.sh"), []byte(stacksScript), 0o644)
	out := buildFor(t, target{arch: qemu.AMD64, modules: "default, loop, dm_mod, raid1", compression: image.None}, "stacks", stacks, dir)
	c := machine(t, out)
	var disks []string
	for _, name := range []string{"a", "b", "c", "d"} {
		disk := filepath.Join(t.TempDir(), name)
		makeExt4(t, disk, "48M")
		disks = append(disks, disk)
		c.Disks = append(c.Disks, qemu.Disk{Path: disk})
	}
	v := vmtest.Boot(t, c)
	v.Stage(timeline.Ready)
	if swaps := v.File("/proc/swaps"); strings.Count(swaps, "\n") != 3 {
		t.Fatalf("swap is not enabled:\n%s\n%s", swaps, v.Console())
	}
	if mounts := v.File("/proc/1/mounts"); strings.Count(mounts, " ext4 ") != 6 || strings.Contains(mounts, "/dev/vda ") {
		t.Fatalf("the mounts are not those of the scripts:\n%s\n%s", mounts, v.Console())
	}
	if err := v.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Shutdown && strings.HasPrefix(e.Result, "failed") {
			t.Errorf("%v", e)
		}
	}
	for _, disk := range disks {
		checkClean(t, disk)
	}
	middle := extract(t, disks[2], "file", 0)
	checkClean(t, middle)
	for _, top := range []string{extract(t, middle, "file", 0), extract(t, disks[3], "one", 1<<20), extract(t, disks[3], "two", 1<<20)} {
		checkClean(t, top)
		checkKept(t, top)
	}
}

// extract copies a file out of a disk's file system, starting at an offset.
func extract(t *testing.T, disk, name string, offset int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	tool(t, "debugfs", "-R", "dump /"+name+" "+path, disk)
	data, err := os.ReadFile(path)
	if err != nil || int64(len(data)) < offset {
		t.Fatalf("%s of %s: %d bytes, %v", name, disk, len(data), err)
	}
	put(t, path, data[offset:], 0o644)
	return path
}
