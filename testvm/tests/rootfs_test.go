package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/image/format"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/session"
	"keelson/testvm/vm/vmtest"
)

// rootKind is a file system that the root may be on although no format of the builder uses
// it. A tool of Debian makes it of a tree.
type rootKind struct {
	fstype, module string // module is empty if the kernel has it built in
	program, pkg   string
	args           []string // IMAGE and TREE stand for the files
	often          bool     // tested by make test, not only by make test-all
}

var rootKinds = []rootKind{
	{"iso9660", "isofs", "xorriso", "xorriso", []string{"-as", "mkisofs", "-quiet", "-R", "-o", "IMAGE", "TREE"}, false},
	{"ext4", "", "mke2fs", "e2fsprogs", []string{"-q", "-t", "ext4", "-d", "TREE", "IMAGE", "300M"}, true},
}

// leaveScripts are what an initramfs does with the file systems that it has mounted; the
// system boots with either. An initramfs such as Debian's passes on the root with /dev,
// /proc, /sys and /run mounted; the machine must not be taken for a container then.
var leaveScripts = map[string]string{
	"iso9660": "umount /proc /dev",
	"ext4":    "mount -t sysfs sys /sys; mount -t tmpfs run /run; for d in dev proc sys run; do mount -o move /$d /sysroot/$d; done",
}

// A tree boots from file systems that no format uses, started by another initramfs than
// the builder's.
func TestReadOnlyRoots(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	tier.Root(t) // owners of the tree
	out := buildFor(t, compressed, "on-root", strings.Replace(onRoot, "services:\n", usersOnRoot+"services:\n", 1))
	tree := t.TempDir()
	unpack(t, out.Initrd, tree)
	for _, k := range rootKinds {
		t.Run(k.fstype, func(t *testing.T) {
			if !k.often {
				tier.Long(t)
			}
			c := machine(t, out)
			c.Disks = []qemu.Disk{{Path: k.make(t, tree), Bus: "nvme", ReadOnly: true}}
			c.Initrd = stage(t, "stage-"+k.fstype, leaveScripts[k.fstype]).Initrd
			c.Append += " stage.module=" + k.module + " stage.fstype=" + k.fstype
			v := vmtest.Boot(t, c)
			v.Stage(timeline.Ready)
			checkRootOn(t, v, k.fstype)
			checkUsersOnRoot(t, v, k.fstype == "ext4")
			v.SignalInit(sigUSR2)
			v.Exit(vm.PoweredDown)
		})
	}
}

// A root that does not appear or has no system is reported, with the disks that exist.
func TestNoRoot(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	out := buildFor(t, target{arch: qemu.AMD64, formats: format.KernelSquashfs}, "format-amd64", onRoot)
	i, err := session.Find(out.File("-squashfs.img"), "")
	if err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.img")
	makeExt4(t, empty, "16M", "-L", "empty")
	for cmdline, wants := range map[string][]string{
		"root=/dev/vdz rootwait=4": {"root=/dev/vdz", "/dev/vda"},
		"root=LABEL=empty":         {"/dev/vdb: it has no program /init"},
	} {
		t.Run(cmdline, func(t *testing.T) {
			c := i.Machine(qemu.Config{Arch: qemu.AMD64, Memory: 512, CPUs: 1, Disks: []qemu.Disk{{Path: empty}}}, "")
			c.Append = "console=ttyS0 quiet " + cmdline
			v := vmtest.Boot(t, vmtest.Fast(t, vm.Config{Config: c}))
			v.Stage(timeline.Fatal)
			for _, want := range wants {
				v.Line("mounts root: failed: .*" + regexp.QuoteMeta(want))
			}
		})
	}
}

// make makes a disk of the tree.
func (k rootKind) make(t *testing.T, tree string) string {
	t.Helper()
	tier.Tool(t, k.program, k.pkg)
	disk := filepath.Join(t.TempDir(), "root.img")
	var args []string
	for _, a := range k.args {
		args = append(args, strings.NewReplacer("TREE", tree, "IMAGE", disk).Replace(a))
	}
	tool(t, k.program, args...)
	return disk
}

// checkRootOn checks that the system works on a read-only root of this type.
func checkRootOn(t *testing.T, v *vmtest.VM, fstype string) {
	t.Helper()
	mounts := v.File("/proc/1/mountinfo")
	root := regexp.MustCompile(`(?m)^\d+ \d+ \S+ / / (\S+) .*- (\S+) `).FindStringSubmatch(mounts)
	if root == nil || root[2] != fstype || !strings.HasPrefix(root[1], "ro,") {
		t.Errorf("the root is %q, want a read-only %s:\n%s", root, fstype, mounts)
	}
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Onboot && e.Result != "exited 0" {
			t.Errorf("a container cannot write to its root: %v", e)
		}
	}
	for _, path := range []string{"/var/lib/site/data", "/run/site/data"} {
		if text := v.File(path); text != "of the image" {
			t.Errorf("%s below a mount of init has %q", path, text)
		}
	}
	checkRoot(t, v)
}

// stageInit mounts the root as the initramfs of a distribution does. The kernel of the
// tests cannot mount it because these file systems are modules.
const stageInit = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
for word in $(cat /proc/cmdline); do
	case $word in
	stage.module=?*) modprobe ${word#*=} ;;
	stage.fstype=*) fstype=${word#*=} ;;
	esac
done
until [ -b /dev/nvme0n1 ]; do sleep 0.1; done
mount -t $fstype -o ro /dev/nvme0n1 /sysroot
%s
exec switch_root /sysroot /init
`

// stage builds an initramfs that mounts a root on the first NVMe disk and starts it.
func stage(t *testing.T, name, leave string) image.Output {
	t.Helper()
	dir := vmtest.Folder(t, name+"-root")
	for _, d := range []string{"dev", "proc", "sys", "run", "sysroot", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "init"), fmt.Appendf(nil, stageInit, leave), 0o755); err != nil {
		t.Fatal(err)
	}
	return vmtest.Image(t, name, qemu.AMD64, fmt.Sprintf(
		"kernel: {image: %q, modules: [isofs]}\ninit: [\"deb:busybox-static\", %q]\n",
		vmtest.KernelOf(qemu.AMD64), "dir:"+dir))
}
