package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/image/progress"
	"keelson/testvm/image/tree"
	"keelson/testvm/initimage"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// diskContainers run before those of examples/disk.yml: a check of the volume before it is mounted, the
// containers of LinuxKit's packages with keelson's image in their place, which has all settings, and one that
// waits for a disk.
const diskContainers = `onboot:
  - name: check
    image: deb:e2fsprogs,cryptsetup-bin,busybox-static
    command: ["/bin/busybox", "sh", "-exc", "[ -b /dev/vdb1 ] || exit 0; cryptsetup open --disable-keyring --key-file /etc/dm-crypt/key /dev/vdb1 early; e2fsck -fn /dev/mapper/early; cryptsetup close early; busybox echo 'check: clean'"]
    env: ["PATH=/usr/sbin:/usr/bin", "DM_DISABLE_UDEV=1"]
    capabilities: [all]
    binds: ["/dev:/dev", "/etc/dm-crypt:/etc/dm-crypt:ro"]
    devices: [{path: all, type: b}, {path: all, type: c}]
  - name: format
    image: DISK
    command: ["/usr/bin/format", "-label", "KIT", "-type", "ext4", "-partition", "dos", "-verbose", "/dev/vda"]
  - name: extend
    image: DISK
    command: ["/usr/bin/extend", "-type", "ext4"]
  - name: mount
    image: DISK
    command: ["/usr/bin/mountie", "-label", "KIT", "/var/kit"]
  - name: interrupted # as if mkswap had been killed
    image: deb:cryptsetup-bin,busybox-static
    command: ["/bin/busybox", "sh", "-exc", "[ -f /var/kit/swap ] || exit 0; cryptsetup open --type plain --disable-keyring --cipher aes-xts-plain64 --key-size 512 --key-file /dev/urandom /var/kit/swap swapfile; busybox echo 'interrupted: mapped'"]
    env: ["PATH=/usr/sbin:/usr/bin", "DM_DISABLE_UDEV=1"]
    capabilities: [all]
    binds: ["/dev:/dev", "/var:/var"]
    devices: [{path: all, type: b}, {path: all, type: c}]
  - name: swapfile
    image: DISK
    command: ["/swap.sh", "--path", "/var/kit/swap", "--size", "8M", "--condition", "partsize:/var/kit:10M", "--encrypt"]
  - name: others # one container for three disks, since each has a copy of the programs
    image: deb:xfsprogs,btrfs-progs,dosfstools,busybox-static
    command: ["/bin/busybox", "sh", "-ec", "for t in xfs:vdc btrfs:vdd vfat:vde; do disk data -label ${t%:*}-disk -type ${t%:*} -format /dev/${t#*:} /var/${t%:*}; done"]
    env: ["PATH=/usr/bin"]
    capabilities: [CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_DAC_OVERRIDE]
    binds: ["/dev:/dev", "/sys:/sys", "/var:/var:rshared,rbind", "/usr/bin/disk:/usr/bin/disk:ro"]
    rootfsPropagation: shared
    devices: [{path: all, type: b}, {path: all, type: c}]
  - name: late
    image: deb:e2fsprogs,fdisk
    command: ["/usr/bin/disk", "mount", "-label", "stick", "-o", "ro", "-wait", "1h", "/var/stick"]
    capabilities: [CAP_SYS_ADMIN, CAP_DAC_OVERRIDE]
    binds: ["/dev:/dev", "/var:/var:rshared,rbind", "/usr/bin/disk:/usr/bin/disk:ro"]
    rootfsPropagation: shared
    devices: [{path: all, type: b}]
`

// diskImage builds an image with the containers of examples/disk.yml.
func diskImage(t *testing.T) image.Output {
	t.Helper()
	repository := vmtest.Repository(t)
	text, err := os.ReadFile(filepath.Join(repository, "examples/disk.yml"))
	if err != nil {
		t.Fatal(err)
	}
	_, onboot, ok := strings.Cut(string(text), "\nonboot:\n")
	onboot, _, more := strings.Cut(onboot, "\nservices:\n")
	_, modules, named := strings.Cut(string(text), "  modules: [")
	modules, _, _ = strings.Cut(modules, "]")
	if !ok || !more || !named {
		t.Fatal("examples/disk.yml has another form")
	}
	key := vmtest.Folder(t, "disk-key")
	put(t, filepath.Join(key, "etc/dm-crypt/key"), []byte(strings.Repeat("0123456789abcdef", 4)), 0o400)
	sections := strings.ReplaceAll(diskContainers, "DISK", "oci:"+packedDisk(t)) + onboot + `
services:
  AGENT
  - name: labelled
    image: deb:busybox-static
    command: ["/bin/busybox", "sleep", "1000000"]
    binds: ["/dev:/dev", "/sys:/sys"]
    annotations: {keelson.requires: "device:/dev/disk/by-label/secret"}
`
	return buildFor(t, target{arch: qemu.AMD64, modules: modules + ", xfs, btrfs, vfat, nls_ascii", compression: image.None}, "disks", sections, filepath.Join(guestRoot(t), "../disk"), key)
}

// packedDisk returns a folder with the OCI layout that make disk-image packs.
func packedDisk(t *testing.T) string {
	t.Helper()
	return packed(t, initimage.Options{Name: "registry.example.org/keelson/disk:test", Kind: initimage.Disk,
		Trees: map[string]string{qemu.AMD64: filepath.Join(guestRoot(t), "../disk")},
		Debian: func(arch, packages string) (*tree.Tree, error) {
			return image.Packages(t.Context(), image.Options{Arch: arch, Progress: progress.Discard}, packages)
		}})
}

// Onboot containers without a shell find, format, check, grow, encrypt and mount disks, and turn swap
// on: ext4, xfs, btrfs and vfat. At the second boot the disks are larger, and nothing is formatted. After each power-off the
// file systems are clean. Formatting is not repeated, and a disk that appears late is waited for.
func TestDisks(t *testing.T) {
	t.Parallel()
	c := machine(t, diskImage(t))
	c.Machine, c.Room = "pc", true // Its PCI bus supports hot-plugging.
	c.Append += " linuxkit.runc_console=1"
	stick := filepath.Join(t.TempDir(), "stick")
	makeExt4(t, stick, "4M", "-L", "stick")
	kit, secret := filepath.Join(t.TempDir(), "kit"), filepath.Join(t.TempDir(), "secret")
	c.Disks = []qemu.Disk{{Path: kit, Size: 64 << 20}, {Path: secret, Size: 192 << 20}}
	others := map[string]string{}
	for _, fs := range otherTypes {
		tier.Tool(t, fs.check[0], fs.pkg)
		others[fs.name] = filepath.Join(t.TempDir(), fs.name)
		c.Disks = append(c.Disks, qemu.Disk{Path: others[fs.name], Size: fs.size})
	}
	for boot := 1; boot <= 2; boot++ {
		v := vmtest.Boot(t, c)
		v.Line("no file system has the label stick; .*waiting 1h")
		if err := v.PlugDisk(vmtest.Context(t), "virtio-blk-pci", "stick", stick, map[string]any{"serial": "stick"}); err != nil {
			t.Fatal(err)
		}
		v.Stage(timeline.Ready)
		v.Line("service labelled: running")
		checkDisks(t, v, boot)
		uuids := checkOthers(t, v, boot)
		if boot == 2 {
			checkStorm(t, v)
		}
		if err := v.PowerOff(vmtest.Context(t)); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "partition")
		partition(t, kit, 1, file)
		checkClean(t, file)
		for _, fs := range otherTypes {
			tool(t, fs.check[0], append(slices.Clone(fs.check[1:]), others[fs.name])...)
			if id := strings.TrimSpace(tool(t, "blkid", "-p", "-o", "value", "-s", "UUID", others[fs.name])); uuids[fs.node] != id {
				t.Errorf("%s: the link to its UUID %s was %q", fs.name, id, uuids[fs.node])
			}
			enlarge(t, others[fs.name], fs.size+64<<20)
		}
		enlarge(t, kit, 128<<20)
		enlarge(t, secret, 256<<20)
	}
}

// otherTypes are the file systems beside ext4. Their sizes are little more than the least.
var otherTypes = []struct {
	name, label, node string
	size              int64
	grows             bool
	pkg               string
	check             []string // changes nothing, and fails if the file system is not clean
}{
	{"xfs", "xfs-disk", "vdc", 320 << 20, true, "xfsprogs", []string{"xfs_repair", "-n"}},
	{"btrfs", "btrfs-disk", "vdd", 272 << 20, true, "btrfs-progs", []string{"btrfs", "check", "--readonly"}},
	{"vfat", "vfat-disk", "vde", 64 << 20, false, "dosfstools", []string{"fsck.vfat", "-n"}},
}

// checkOthers checks the file systems beside ext4, and the links to them. It returns the links by UUID: which name
// leads to each node.
func checkOthers(t *testing.T, v *vmtest.VM, boot int) map[string]string {
	t.Helper()
	mounts, console := v.File("/proc/1/mounts"), v.Console()
	for _, fs := range otherTypes {
		dir := "/var/" + fs.name
		if want := fmt.Sprintf("/dev/%s %s %s rw,nosuid,nodev", fs.node, dir, fs.name); !strings.Contains(mounts, want) {
			t.Errorf("boot %d: %s is missing:\n%s\n%s", boot, want, mounts, console)
		}
		// At the first boot, it grows over the mark of formatting at the end of the disk.
		for text, want := range map[string]bool{"disk: making " + fs.name + " on " + fs.node: boot == 1,
			"disk: the file system of " + fs.node + " has grown": fs.grows, "disk: cannot": false} {
			if strings.Contains(console, text) != want {
				t.Errorf("boot %d: %q: want %v\n%s", boot, text, want, console)
			}
		}
		if boot == 1 {
			if err := v.WriteFile(vmtest.Context(t), dir+"/kept", []byte(dir), 0o600); err != nil {
				t.Error(err)
			}
		} else if got := v.File(dir + "/kept"); got != dir {
			t.Errorf("%s: what was stored is %q", dir, got)
		}
	}
	out := v.Output("/usr/bin/service", "exec", "labelled", "/bin/busybox", "sh", "-ec", `for l in xfs btrfs vfat; do
		until [ -e /dev/disk/by-label/$l-disk ]; do busybox sleep 0.1; done; done
		for l in /dev/disk/by-label/* /dev/disk/by-uuid/*; do echo $l $(busybox readlink $l); done`)
	uuids := map[string]string{}
	for line := range strings.Lines(out) {
		link, to, _ := strings.Cut(strings.TrimSpace(line), " ../../")
		if id, ok := strings.CutPrefix(link, "/dev/disk/by-uuid/"); ok {
			uuids[to] = id
		}
	}
	for _, fs := range otherTypes {
		if want := "/dev/disk/by-label/" + fs.label + " ../../" + fs.node + "\n"; !strings.Contains(out, want) {
			t.Errorf("boot %d: no link %s\n%s", boot, want, out)
		}
	}
	return uuids
}

// checkStorm checks that the links are made after the last of many events of disks.
func checkStorm(t *testing.T, v *vmtest.VM) {
	t.Helper()
	out := v.Output("/usr/bin/service", "exec", "labelled", "/bin/busybox", "sh", "-ec", `for i in $(busybox seq 250); do
		for d in vda vda1 vdb vdb1; do echo change >/sys/class/block/$d/uevent; done; done
		busybox rm /dev/disk/by-label/KIT; echo change >/sys/class/block/vda1/uevent
		until [ -e /dev/disk/by-label/KIT ]; do busybox sleep 0.1; done; busybox ls /dev/disk/by-label; busybox readlink /dev/disk/by-label/KIT`)
	if got := strings.Join(strings.Fields(out), " "); got != "KIT btrfs-disk secret stick vfat-disk xfs-disk ../../vda1" {
		t.Errorf("after 1001 events: %s\n%s", got, v.Console())
	}
}

// checkDisks checks what the containers have done.
func checkDisks(t *testing.T, v *vmtest.VM, boot int) {
	t.Helper()
	mounts := v.File("/proc/1/mounts")
	for _, want := range []string{"/dev/vda1 /var/kit ext4 rw,nosuid,nodev", "/dev/mapper/secret /var/secret ext4 rw,nosuid,nodev", "/dev/vdf /var/stick ext4 ro,"} {
		if !strings.Contains(mounts, want) {
			t.Errorf("boot %d: %s is missing:\n%s\n%s", boot, want, mounts, v.Console())
		}
	}
	swaps := v.File("/proc/swaps")
	if strings.Count(swaps, "\n") != 4 || !strings.Contains(swaps, "/mapper/swapfile ") || !strings.Contains(swaps, "/swap ") || !strings.Contains(swaps, "/zram0 ") || !strings.Contains(swaps, "\t100\n") {
		t.Errorf("boot %d: swap:\n%s\n%s", boot, swaps, v.Console())
	}
	console := v.Console()
	for text, want := range map[string]int{"disk: making ext4 on vda1": 2 - boot, "disk: making crypto_LUKS on vdb1": 2 - boot, "disk: making ext4 on dm-1": 2 - boot,
		"disk: making the swap file": 2 - boot, "check: clean": boot - 1, "interrupted: mapped": boot - 1, "disk: growing partition vda1": boot - 1, "disk: growing partition vdb1": boot - 1,
		"disk: the file system of vda1 has grown from": boot - 1, "disk: the file system of dm-1 has grown from": boot - 1} {
		if got := min(1, strings.Count(console, text)); got != want {
			t.Errorf("boot %d: %q: %d, want %d\n%s", boot, text, got, want, console)
		}
	}
	for _, folder := range []string{"/var/kit", "/var/secret"} {
		if boot == 2 {
			if got := v.File(folder + "/kept"); got != folder {
				t.Errorf("%s: what was stored is %q", folder, got)
			}
		} else if err := v.WriteFile(vmtest.Context(t), folder+"/kept", []byte(folder), 0o600); err != nil {
			t.Error(err)
		}
	}
}
