package vmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
)

// folder holds the files that the tests of a package build. Main makes and removes it.
var folder string

// Main runs a package's tests. Call it from TestMain when Image, Program or
// Tiny are used.
func Main(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "keelson-vmtest-"); err != nil {
		fmt.Fprintln(os.Stderr, "cannot make a folder for images:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	return m.Run()
}

// Folder makes a folder that exists until the package's tests end.
func Folder(t testing.TB, name string) string {
	t.Helper()
	if folder == "" {
		t.Fatal("the package's TestMain does not call vmtest.Main")
	}
	dir := filepath.Join(folder, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Repository returns the folder of go.mod, which is above the working directory of every
// test.
func Repository(t testing.TB) string {
	t.Helper()
	start, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatalf("cannot find the repository: there is no go.mod above %s", start)
		}
	}
}

// Program builds a static program of this repository for a guest.
func Program(t testing.TB, arch, pkg, output string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", output, pkg)
	cmd.Dir = Repository(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, out)
	}
}

// Image builds an image from a LinuxKit YAML, as kernel and initrd. The initrd is not
// compressed, because host and guest would need seconds to pack and unpack it.
func Image(t testing.TB, name, arch, yaml string) image.Output {
	t.Helper()
	return Build(t, image.Options{YAML: []byte(yaml), Name: name, Arch: arch, Compression: image.None})
}

// Build builds an image in the folder that has its name.
func Build(t testing.TB, o image.Options) image.Output {
	t.Helper()
	o.File, o.OutDir = filepath.Join(folder, o.Name+".yml"), Folder(t, o.Name)
	out, err := image.Build(Context(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// KernelOf returns the kernel that the tests boot.
func KernelOf(arch string) string { return "deb:linux-image-cloud-" + arch }

const tinyYAML = `
kernel:
  image: %s
  modules: [virtio_pci, virtio_console, evdev%s]
  cmdline: "console=%s panic=0"
init: ["dir:%s"]
`

// Tiny returns a machine whose only process is testapp; do selects what it does
// (testvm/testapp). The machine has no containers and boots in two seconds.
func Tiny(t testing.TB, do string) vm.Config {
	t.Helper()
	return TinyOn(t, qemu.AMD64, do)
}

// tinyImages holds the image of Tiny for each architecture.
var tinyImages Shared[image.Output]

// TinyOn is like Tiny for any architecture.
func TinyOn(t testing.TB, arch, do string) vm.Config {
	t.Helper()
	tier.VM(t)
	out := tinyImages.Get(arch, func() image.Output {
		root := Folder(t, "tiny-root-"+arch)
		Program(t, arch, "./testvm/testapp", filepath.Join(root, "init"))
		Program(t, arch, "./testvm/agent/cmd/agent", filepath.Join(root, "usr/bin/agent"))
		buttons := map[string]string{qemu.AMD64: ", button", qemu.ARM64: ", virtio_input"}[arch]
		return Image(t, "tiny-"+arch, arch, fmt.Sprintf(tinyYAML, KernelOf(arch), buttons, qemu.ConsoleDevice(arch), root))
	})
	return Fast(t, vm.Config{Config: qemu.Config{Arch: arch, Kernel: out.Kernel, Initrd: out.Initrd,
		Memory: 256, CPUs: 1, Append: out.Cmdline + " testapp.do=" + do}})
}
