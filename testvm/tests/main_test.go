package tests

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/testvm/bench"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

func TestMain(m *testing.M) { os.Exit(vmtest.Main(m)) }

// varDisk is an onboot container that mounts the machine's disk on /var.
const varDisk = `
  - name: var
    image: deb:e2fsprogs,busybox-static
    command: ["/bin/busybox", "sh", "-ec", "/sbin/tune2fs -l /dev/vda >/dev/null 2>&1 || /sbin/mke2fs -q -t ext4 /dev/vda; mount -t ext4 /dev/vda /outer/var; mkdir -p /outer/var/log /outer/var/lib"]
    capabilities: [CAP_SYS_ADMIN, CAP_DAC_OVERRIDE]
    devices: [{path: all, type: b}]
    rootfsPropagation: shared
    binds: ["/dev:/dev", "/:/outer:rshared,rbind"]
`

// network is a static address in QEMU's user network, in the kernel's syntax.
const network = "ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:none:10.0.2.3"

// agentService runs the agent, by which tests act in the guest.
const agentService = `
  - name: agent
    image: dir:PAYLOAD
    command: ["/agent"]
    net: host
    pid: host
    readonly: true
    capabilities: [all]
    devices: [{path: all, type: c}]
    binds: ["/dev:/dev"]
`

// What tests build once and share.
var (
	images   vmtest.Shared[image.Output]
	folders  vmtest.Shared[string] // by their name below vmtest.Folder
	measures vmtest.Shared[bench.Options]
)

// guestRoot returns the tree that make has built.
func guestRoot(t testing.TB) string {
	t.Helper()
	return guestRootOf(t, qemu.AMD64)
}

func guestRootOf(t testing.TB, arch string) string {
	t.Helper()
	root := filepath.Join(vmtest.Repository(t), "build", arch, "root")
	for _, file := range []string{"init", "usr/bin/service", "usr/bin/containerd", "usr/bin/containerd-shim-runc-v2",
		"usr/libexec/containerd-shim-runc-v2", "usr/bin/ctr", "usr/bin/runc", "etc/os-release"} {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			tier.Skip(t, "VM tier: the guest is not built (make): %v", err)
		}
	}
	return root
}

// payload returns a root file system with the agent and testapp.
func payload(t testing.TB, arch string) string {
	t.Helper()
	return folder(t, "payload-"+arch, func(dir string) {
		vmtest.Program(t, arch, "./testvm/agent/cmd/agent", filepath.Join(dir, "agent"))
		vmtest.Program(t, arch, "./testvm/testapp", filepath.Join(dir, "testapp"))
	})
}

// folder returns a folder that fill has filled once.
func folder(t testing.TB, name string, fill func(dir string)) string {
	t.Helper()
	return folders.Get(name, func() string {
		dir := vmtest.Folder(t, name)
		fill(dir)
		return dir
	})
}

// build makes an image of the given sections once. In them PAYLOAD stands for a root file
// system with /agent and /testapp, AGENT for the service of the agent, and VARDISK for the
// onboot container varDisk. The initrd is not compressed, because host and guest would need
// seconds to pack and unpack it.
func build(t testing.TB, name, sections string, overlays ...string) image.Output {
	t.Helper()
	return buildFor(t, target{arch: qemu.AMD64, compression: image.None}, name, sections, overlays...)
}

// compressed is the target of images whose test needs a compressed initrd, or one of that
// size.
var compressed = target{arch: qemu.AMD64}

// target is what an image is built for. Empty fields have defaults.
type target struct {
	arch, kernel string // kernel: the kernel of the tests
	formats      string // separated by commas: kernel and initrd
	modules      string // separated by commas: the builder's default
	compression  string // of the initrd: the builder's default
	cmdline      string // the console of the default machine, and a network
}

// buildFor is like build, for a target.
func buildFor(t testing.TB, to target, name, sections string, overlays ...string) image.Output {
	t.Helper()
	tier.VM(t)
	return images.Get(fmt.Sprintf("%s %+v", name, to), func() image.Output {
		return vmtest.Build(t, image.Options{
			YAML: []byte(to.yaml(t, sections, overlays)), Name: name, Arch: to.arch, Compression: to.compression,
			Formats: strings.FieldsFunc(to.formats, func(r rune) bool { return r == ',' }),
		})
	})
}

// yaml returns the YAML of an image for the target.
func (to target) yaml(t testing.TB, sections string, overlays []string) string {
	t.Helper()
	arch, kernel := to.arch, cmp.Or(to.kernel, vmtest.KernelOf(to.arch))
	inits := []string{fmt.Sprintf("%q", "dir:"+guestRootOf(t, arch))}
	for _, o := range overlays {
		inits = append(inits, fmt.Sprintf("%q", "dir:"+o))
	}
	line := cmp.Or(to.cmdline, "console="+qemu.ConsoleDevice(arch)+" "+network)
	yaml := fmt.Sprintf("kernel:\n  image: %s\n  cmdline: \"%s\"\ninit: [%s]\n%s",
		kernel, line, strings.Join(inits, ", "), sections)
	if to.modules != "" {
		yaml = strings.Replace(yaml, "  cmdline:", "  modules: ["+to.modules+"]\n  cmdline:", 1)
	}
	yaml = strings.ReplaceAll(yaml, "AGENT", strings.TrimSpace(agentService))
	yaml = strings.ReplaceAll(yaml, "VARDISK", strings.TrimSpace(varDisk))
	return strings.ReplaceAll(yaml, "PAYLOAD", payload(t, arch))
}

// machine returns a machine with 1 GiB that boots out, with little work for TCG. It has one
// CPU: the machines of other tests keep the other processors busy, and TCG needs a quarter
// less processor time for the same boot than with two.
func machine(t testing.TB, out image.Output) vm.Config {
	t.Helper()
	return machineOf(t, qemu.AMD64, out)
}

// machineOf is like machine for any architecture.
func machineOf(t testing.TB, arch string, out image.Output) vm.Config {
	t.Helper()
	return vmtest.Fast(t, vm.Config{Config: qemu.Config{Arch: arch, Kernel: out.Kernel, Initrd: out.Initrd,
		Append: out.Cmdline, Memory: 1024, CPUs: 1}})
}

// machine2 returns the same with two CPUs, for tests of what runs at the same time.
func machine2(t testing.TB, out image.Output) vm.Config {
	t.Helper()
	c := machine(t, out)
	c.CPUs = 2
	return c
}

// until repeats check for five minutes, as long as it returns a problem, and fails the test
// with the last one.
func until(t *testing.T, check func() (problem string)) {
	t.Helper()
	deadline := time.Now().Add(vmtest.Patience / 2)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Error(problem)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// plain returns a machine that boots an image with only the agent.
func plain(t testing.TB) vm.Config {
	t.Helper()
	return machine(t, build(t, "plain", "services:\n  AGENT\n"))
}

// toolbox returns a root overlay with a busybox that tests run through the agent.
func toolbox(t *testing.T) string {
	t.Helper()
	tier.Tool(t, "busybox", "busybox-static")
	return folder(t, "toolbox-root", func(dir string) {
		busybox, err := os.ReadFile("/bin/busybox")
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "usr/bin/busybox"), busybox, 0o755)
	})
}

func put(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}
