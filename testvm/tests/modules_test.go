package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// asModules uses file systems and devices of LinuxKit's contract whose drivers are modules
// in Debian's kernel.
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

// File systems and devices of the contract work although their drivers are modules: file
// systems before the first onboot container, devices when they are opened. A module that
// modprobe.d blocks is not loaded when a container makes the kernel request it. The
// modules are compressed in ways that the kernel cannot unpack.
func TestContractFromModules(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"xz", "zstd"} {
		tier.Tool(t, tool, map[string]string{"xz": "xz-utils", "zstd": "zstd"}[tool])
	}
	kernel := buildFor(t, target{arch: qemu.AMD64, modules: "default, binfmt_misc, configfs, fuse"}, "modules", "services:\n  AGENT\n")
	out := buildFor(t, target{arch: qemu.AMD64, kernel: "file:" + kernel.Kernel, compression: image.None}, "as-modules", asModules, toolbox(t), withPackedModules(t, kernel))
	v := vmtest.Boot(t, machine(t, out))
	v.Stage(timeline.Ready)
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Onboot && e.Result != "exited 0" {
			t.Errorf("%v:\n%s", e, v.File("/var/log/onboot/onboot."+e.Name+".log"))
		}
	}
	if modules := v.File("/proc/modules"); strings.Contains("\n"+modules, "\ndummy ") {
		t.Errorf("a module that modprobe.d blocks is loaded:\n%s", modules)
	}
	known := v.File("/proc/filesystems")
	for _, fs := range []string{"binfmt_misc", "configfs", "fusectl"} {
		if !strings.Contains(known, "\t"+fs+"\n") {
			t.Errorf("the kernel has no file system %s:\n%s", fs, known)
		}
	}
	checkMounts(t, v, "v2")
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// withPackedModules returns a root with the modules of an image, each compressed so that the
// kernel cannot unpack it: Debian's 6.1 unpacks no modules, and no kernel accepts xz with a
// check other than CRC32.
func withPackedModules(t *testing.T, out image.Output) string {
	t.Helper()
	whole, root := t.TempDir(), t.TempDir()
	unpack(t, out.Initrd, whole)
	withFolder(t, filepath.Join(root, "lib/modules"), func(path string) error {
		return os.Rename(filepath.Join(whole, "lib/modules"), path)
	})
	tables, err := filepath.Glob(filepath.Join(root, "lib/modules/*/modules.dep"))
	if err != nil || len(tables) != 1 {
		t.Fatalf("modules: %q, %v", tables, err)
	}
	text, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	// depmod cannot do this: Debian's does not support gzip.
	put(t, tables[0], packModules(t, filepath.Dir(tables[0]), text), 0o644)
	return root
}

// packModules compresses the modules that modules.dep lists, and returns modules.dep with
// their new names.
func packModules(t *testing.T, dir string, dep []byte) []byte {
	t.Helper()
	programs := []struct{ suffix, command string }{{".xz", "xz --check=crc64"}, {".zst", "zstd --rm -q"}, {".gz", "gzip"}}
	var renames []string
	for line := range strings.Lines(string(dep)) {
		name, _, _ := strings.Cut(line, ":")
		p := programs[len(renames)/2%len(programs)]
		command := strings.Fields(p.command + " " + filepath.Join(dir, name))
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", command, err, out)
		}
		renames = append(renames, name, name+p.suffix)
	}
	return []byte(strings.NewReplacer(renames...).Replace(string(dep)))
}
