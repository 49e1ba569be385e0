package image

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/debian"
	"keelson/testvm/image/format"
	"keelson/testvm/image/kernel/kerneltest"
	"keelson/testvm/image/progress"
	"keelson/testvm/tier"
)

const formatsYAML = `
kernel: {image: ./vmlinuz, cmdline: "console=ttyS0 quiet"}
init: ["dir:root"]
files:
  - {path: etc/owned, contents: "text", uid: 1234, gid: 56, mode: "0640"}
  - {path: etc/link, symlink: owned}
  - {path: srv/empty/x, contents: "", mode: "0400"}
`

// small writes the inputs of an image that is no system but for its /init, which
// is keelson's, below a folder that everybody may read.
func small(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "keelson-formats-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, "root/init"), "keelson/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build init: %v\n%s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(dir, "firmware/overlays"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a.yml": formatsYAML, "vmlinuz": string(kerneltest.Vmlinux(microVMConfig, true)) + strings.Repeat("kernel", 100_000),
		"firmware/bootcode.bin": "boot", "firmware/bcm2837-rpi-3-b.dtb": "tree", "firmware/overlays/disable-bt.dtbo": "overlay",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for arch := range stubs {
		if err := os.WriteFile(filepath.Join(dir, "stub-"+arch), stubOf(t, arch), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// stubOf is systemd's stub of Debian's archive.
func stubOf(t *testing.T, arch string) []byte {
	t.Helper()
	dir, err := cache.Dir()
	if err != nil {
		t.Fatal(err)
	}
	a := &debian.Archive{Arch: arch, CacheDir: dir, Progress: progress.Discard}
	data, err := a.Member(t.Context(), stubPackage, stubs[arch])
	if err != nil {
		tier.Skip(t, "needs Debian's archive: %v", err)
	}
	return data
}

// needTools skips a test that cannot have the tools of all formats.
func needTools(t *testing.T, arch string) {
	t.Helper()
	for _, need := range toolsOf(arch) {
		if !need.installed() {
			tier.Skip(t, "needs %s (Debian package %s)", need.program, need.pkg)
		}
	}
}

// toolsOf returns what the formats of an architecture need.
func toolsOf(arch string) (tools []tool) {
	for _, f := range format.Table {
		if f.For(arch) {
			for _, need := range f.Tools(arch) {
				tools = append(tools, tool{need.Program, need.Package})
			}
		}
	}
	return tools
}

// `make test` installs what the formats need: a machine that has it already does not show
// that it is missing.
func TestNeedsAreInstalled(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range archs {
		for _, need := range toolsOf(arch) {
			if need := need.program + ":" + need.pkg; !strings.Contains(string(makefile), need) {
				t.Errorf("a format of %s: the Makefile does not install %s", arch, need)
			}
		}
	}
}

func options(dir, out, arch string, formats ...string) Options {
	o := Options{YAML: []byte(formatsYAML), File: filepath.Join(dir, "a.yml"), Arch: arch, Formats: formats,
		CacheDir: filepath.Join(out, "cache"), OutDir: filepath.Join(out, "images"), Stub: filepath.Join(dir, "stub-"+arch)}
	if slices.Contains(formats, format.RPi) {
		o.Firmware = filepath.Join(dir, "firmware")
	}
	return o
}

func formatsOf(arch string) (names []string) {
	for _, f := range format.Table {
		if f.For(arch) {
			names = append(names, f.Name)
		}
	}
	return names
}

// archs are the architectures that have formats.
var archs = []string{format.AMD64, format.ARM64, format.RISCV, format.S390X}

// Every format is the same to the byte when it is built again in another folder by a user
// without privileges. The test runs itself as nobody for that.
func TestFormatsAreReproducible(t *testing.T) {
	if out := os.Getenv("KEELSON_TEST_OUT"); out != "" {
		buildAll(t, os.Getenv("KEELSON_TEST_IN"), out)
		return
	}
	tier.Root(t)
	for _, arch := range archs {
		needTools(t, arch)
	}
	dir, ours := small(t), t.TempDir()
	buildAll(t, dir, ours)
	theirs := filepath.Join(dir, "nobody")
	if err := errors.Join(os.Mkdir(theirs, 0o755), os.Chown(theirs, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	asNobody(t, dir, theirs)
	for _, arch := range archs {
		checkDisks(t, filepath.Join(ours, arch, "images"))
		compare(t, filepath.Join(ours, arch, "images"), filepath.Join(theirs, arch, "images"))
	}
}

const nobody = 65534

func buildAll(t *testing.T, dir, out string) {
	t.Helper()
	for _, arch := range archs {
		opts := options(dir, filepath.Join(out, arch), arch, formatsOf(arch)...)
		if slices.Contains(opts.Formats, format.RawEFI) { // The others have no partitions.
			opts.Data = &Data{Label: "data"}
		}
		o, err := Build(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Files) < len(formatsOf(arch)) {
			t.Errorf("%s: made only %q", arch, o.Files)
		}
	}
}

// asNobody runs the test that calls it as user nobody, without capabilities and
// from a copy of the test's program, which lies where only root may look.
func asNobody(t *testing.T, in, out string) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	program := filepath.Join(in, "test")
	if err := errors.Join(err, os.WriteFile(program, self, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$")
	cmd.Dir = out
	cmd.Env = append(os.Environ(), "KEELSON_TEST_IN="+in, "KEELSON_TEST_OUT="+out, "HOME="+out, "TMPDIR=/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("as nobody: %v\n%s", err, text)
	}
}

// compare checks that two folders have the same contents.
func compare(t *testing.T, a, b string) {
	t.Helper()
	list := func(dir string) (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	names := list(a)
	if other := list(b); !slices.Equal(names, other) {
		t.Fatalf("%s holds %q, %s holds %q", a, names, b, other)
	}
	for _, name := range names {
		x, errX := os.ReadFile(filepath.Join(a, name))
		y, errY := os.ReadFile(filepath.Join(b, name))
		if err := errors.Join(errX, errY); err != nil || !bytes.Equal(x, y) {
			t.Errorf("%s: two builds differ (%v)", name, err)
		}
	}
}

// Root file systems have the owners, modes and links of the tree.
func TestRootsKeepOwners(t *testing.T) {
	needTools(t, format.AMD64)
	tier.Root(t) // The tools that unpack give files to their owners.
	tier.Tool(t, "unsquashfs", "squashfs-tools")
	tier.Tool(t, "fsck.erofs", "erofs-utils")
	dir, out := small(t), t.TempDir()
	o, err := Build(t.Context(), options(dir, out, format.AMD64, format.KernelSquashfs, format.KernelErofs))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"unsquashfs", "-quiet", "-no-progress", "-d", out + "/squashfs", o.File("-squashfs.img")},
		{"fsck.erofs", "--extract=" + out + "/erofs", "--preserve", o.File("-erofs.img")},
	} {
		if text, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, text)
		}
	}
	for _, fstype := range []string{"squashfs", "erofs"} {
		var st, top unix.Stat_t
		err := errors.Join(unix.Stat(filepath.Join(out, fstype, "etc/owned"), &st), unix.Stat(filepath.Join(out, fstype, "init"), &top))
		if err != nil || st.Uid != 1234 || st.Gid != 56 || st.Mode != unix.S_IFREG|0o640 || top.Uid != 0 || st.Mtim.Sec != 0 {
			t.Errorf("%s: %+v, %v", fstype, st, err)
		}
		if to, err := os.Readlink(filepath.Join(out, fstype, "etc/link")); to != "owned" {
			t.Errorf("%s: the link leads to %q, %v", fstype, to, err)
		}
	}
}

// What cannot be made is refused before work starts, with a reason.
func TestFormatsRefused(t *testing.T) {
	dir, out := small(t), t.TempDir()
	for want, change := range map[string]func(*Options){
		"no format \"floppy\"": func(o *Options) { o.Formats = []string{"tar", "floppy"} },
		"no format \"\"":       func(o *Options) { o.Formats = []string{""} },
		"a disk of 1MiB is too small: its partitions take 38MiB": func(o *Options) { o.Formats, o.Size = []string{"raw-efi"}, 1<<20 },
		"no format raw-bios for arm64":                           func(o *Options) { o.Formats, o.Arch = []string{"raw-bios"}, format.ARM64 },
		"with a data partition: none of the formats":             func(o *Options) { o.Data = &Data{Label: "data"} },
		"label \"my data\" is not":                               func(o *Options) { o.Formats, o.Data = []string{"raw-efi"}, &Data{Label: "my data"} },
		"an ext4 file system of 1MiB: it takes at least 32MiB":   func(o *Options) { o.Formats, o.Data = []string{"raw-efi"}, &Data{Label: "data", Size: 1 << 20} },
		"of a given size":                                        func(o *Options) { o.Formats, o.Size = []string{"tar", "oci"}, 1<<20 },
		"none of the formats is for a board":                     func(o *Options) { o.Firmware = dir },
		"no device trees for boards":                             func(o *Options) { o.Formats, o.Arch = []string{"rpi"}, format.ARM64 },
		"kernel.image: is missing, and format kern":              func(o *Options) { o.Formats, o.YAML = []string{"erofs"}, []byte("init: [\"dir:root\"]\n") },
		"is not keelson's":                                       func(o *Options) { os.WriteFile(filepath.Join(dir, "root/init"), []byte("#!/bin/sh"), 0o755) },
	} {
		o := options(dir, out, format.AMD64, "squashfs")
		change(&o)
		if _, err := Build(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if made, err := os.ReadDir(filepath.Join(out, "images")); err == nil && len(made) > 0 {
			t.Errorf("%s: something was written: %v", want, made)
		}
	}
	t.Setenv("PATH", "/nowhere")
	_, err := Build(t.Context(), options(dir, out, format.AMD64, "erofs"))
	if err == nil || !strings.Contains(fmt.Sprint(err), "install Debian package fakeroot") {
		t.Errorf("without tools: %v", err)
	}
}
