package tests

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"keelson/testvm/bench"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

const ballastSize = 60 << 20

// ballast builds the plain image plus 60 MB that cannot be compressed.
func ballast(t *testing.T) image.Output {
	t.Helper()
	tier.VM(t)
	dir := folder(t, "ballast-root", func(dir string) {
		data := make([]byte, ballastSize)
		_, _ = rand.Read(data)
		put(t, filepath.Join(dir, "ballast"), data, 0o644)
	})
	return buildFor(t, compressed, "ballast", "services:\n  AGENT\n", dir)
}

// With each kind of initramfs runc can pivot, and the root is in memory once.
func TestInitramfs(t *testing.T) {
	t.Parallel()
	for _, fstype := range []string{"ramfs", "tmpfs"} {
		t.Run(fstype, func(t *testing.T) {
			if fstype == "tmpfs" {
				tier.Long(t) // It is the default; the benchmark has a budget of memory.
			}
			out := ballast(t)
			sizes, err := bench.MeasureInitrd(out.Initrd)
			if err != nil {
				t.Fatal(err)
			}
			c := machine(t, out)
			c.Append += " rootfstype=" + fstype
			v := vmtest.Boot(t, c)
			v.Stage("ready")                                      // The agent runs, so runc has pivoted.
			if got := v.File("/proc/1/cgroup"); got != "0::/\n" { // The kernel cannot take back what is in memory.
				t.Errorf("PID 1 is in the cgroup %q", got)
			}
			used := memoryInUse(t, v.File("/proc/meminfo"))
			// The memory that the kernel and the daemons need.
			const base = 110 << 20
			if limit := sizes.ImageUnpacked*3/2 + base; used > limit {
				t.Errorf("%d MB in use, more than %d: the root of %d MB is in memory more than once",
					used>>20, limit>>20, sizes.ImageUnpacked>>20)
			}
			v.SignalInit(sigUSR2)
			v.Exit(vm.PoweredDown)
		})
	}
}

var meminfoLine = regexp.MustCompile(`(?m)^(MemTotal|MemFree): +(\d+) kB$`)

func memoryInUse(t *testing.T, meminfo string) int64 {
	t.Helper()
	found := map[string]int64{}
	for _, m := range meminfoLine.FindAllStringSubmatch(meminfo, -1) {
		n, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		found[m[1]] = n << 10
	}
	if found["MemTotal"] == 0 || found["MemFree"] == 0 {
		t.Fatalf("meminfo: %q", meminfo)
	}
	return found["MemTotal"] - found["MemFree"]
}

// The kernel only logs that the initramfs did not fit into memory, and continues; /init
// stops and reports what to do.
func TestTooLittleMemory(t *testing.T) {
	t.Parallel()
	c := machine(t, ballast(t))
	c.Memory = 288
	v := vmtest.Boot(t, c)
	e := v.Stage("fatal", "ready", "degraded")
	if e.Stage != "fatal" || !strings.Contains(e.Result, "memory") {
		t.Errorf("got %v", e)
	}
}

// The tree of an initrd also boots from a disk.
func TestDiskRoot(t *testing.T) {
	t.Parallel()
	c, tree := diskRoot(t)
	disk := c.Disks[0].Path
	makeExt4(t, disk, "256M", "-d", tree)
	v := vmtest.Boot(t, c)
	v.Stage("ready")
	if mounts := v.File("/proc/1/mountinfo"); !strings.Contains(mounts, " - ext4 ") {
		t.Errorf("the root is not ext4:\n%s", mounts)
	}
	if got := v.File("/proc/1/cgroup"); got != "0::/keelson.core\n" { // Its programs are on the disk too.
		t.Errorf("PID 1 is in the cgroup %q", got)
	}
	if got := v.File("/sys/fs/cgroup/keelson.core/memory.min"); got == "0\n" || got == "max\n" {
		t.Errorf("memory.min of the core is %q", got)
	}
	t.Logf("the core uses %s bytes", strings.TrimSpace(v.File("/sys/fs/cgroup/keelson.core/memory.current")))
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
	head := tool(t, "dumpe2fs", "-h", disk)
	if strings.Contains(head, "needs_recovery") {
		t.Error("the root was not unmounted cleanly")
	}
}

// A read-only root must have the mount points.
func TestDiskRootWithoutMountPoints(t *testing.T) {
	t.Parallel()
	c, tree := diskRoot(t)
	if err := os.RemoveAll(filepath.Join(tree, "run")); err != nil {
		t.Fatal(err)
	}
	makeExt4(t, c.Disks[0].Path, "256M", "-d", tree)
	v := vmtest.Boot(t, c)
	e := v.Stage("fatal", "ready", "degraded")
	if e.Stage != "fatal" || !strings.Contains(e.Result, "/run") {
		t.Errorf("got %v", e)
	}
}

// diskRoot returns a machine that boots from an ext4 disk, and the tree of which the caller
// makes that disk.
func diskRoot(t *testing.T) (vm.Config, string) {
	t.Helper()
	tier.VM(t)
	tier.Root(t) // owners and device nodes of the tree
	out := buildFor(t, compressed, "plain-compressed", "services:\n  AGENT\n")
	tree := t.TempDir()
	unpack(t, out.Initrd, tree)
	c := machine(t, out)
	c.Initrd = ""
	c.Append += " root=/dev/nvme0n1 rootfstype=ext4 ro init=/init"
	c.Disks = []qemu.Disk{{Path: filepath.Join(t.TempDir(), "root.img"), Bus: "nvme"}}
	return c, tree
}

// A broken bundle affects only its own container.
func TestBrokenBundles(t *testing.T) {
	t.Parallel()
	const broken = `
onboot:
  - name: good
    image: dir:PAYLOAD
    command: ["/testapp", "exit", "0"]
    readonly: true
    resources: {memory: {limit: 67108864}}
services:
  AGENT
  - name: limited
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    readonly: true
    resources: {memory: {limit: 67108864}, pids: {limit: 50}}
  - name: badruntime
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    readonly: true
  - name: noprogram
    image: dir:PAYLOAD
    command: ["/no/such/program"]
    readonly: true
`
	dir := vmtest.Folder(t, "broken-root")
	write := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("containers/onboot/000-badjson/config.json", "{")
	write("containers/services/badjson/config.json", `{"ociVersion": 1}`)
	write("containers/services/noconfig/rootfs/file", "")
	yaml := broken + "files:\n  - path: containers/services/badruntime/runtime.json\n    contents: '{\"mounts\": 3}'\n"
	config := machine(t, build(t, "broken", yaml, dir))
	config.Append += " cgroup_disable=memory" // as the firmware of the Raspberry Pi sets it
	v := vmtest.Boot(t, config)
	e := v.Stage("degraded", "ready")
	if e.Stage != "degraded" {
		t.Errorf("got %v", e)
	}
	for _, name := range []string{"badjson", "noconfig", "badruntime", "noprogram"} {
		if !strings.Contains(e.Result, name) {
			t.Errorf("%s is not named: %v", name, e)
		}
	}
	results := map[string]string{}
	for _, e := range v.Timeline() {
		if e.Stage == "onboot" || e.Stage == "service" {
			results[e.Name] = e.Result
		}
	}
	for _, container := range []string{"container=000-good", "service=limited"} {
		v.Line("linux.resources.memory.limit ignored: the kernel has no cgroup controller memory .*" + container)
	}
	if results["limited"] != "running" {
		t.Errorf("a service whose limit cannot be applied does not run: %v", results)
	}
	if results["000-good"] != "exited 0" || results["agent"] != "running" || !strings.HasPrefix(results["000-badjson"], "failed") {
		t.Errorf("results: %v", results)
	}
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// PID 1 reaps orphans. init/pid1 has a test without a machine.
func TestOrphans(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	tier.Long(t)
	root, dir := guestRoot(t), vmtest.Folder(t, "orphans-root")
	bin := filepath.Join(dir, "usr/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	real, err := os.ReadFile(filepath.Join(root, "usr/bin/containerd"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "containerd-real"), real, 0o755); err != nil {
		t.Fatal(err)
	}
	vmtest.Program(t, qemu.AMD64, "./testvm/testapp", filepath.Join(bin, "containerd"))
	c := machine(t, build(t, "orphans", "services:\n  AGENT\n", dir))
	v := vmtest.Boot(t, c)
	v.Line(fmt.Sprintf("keelson-test: orphans %d", 2000))
	v.Stage("ready", "degraded") // On a busy host, containerd starts too late.
	noZombies(t, v)
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}
