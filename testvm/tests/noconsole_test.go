package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/image/format"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/session"
	"keelson/testvm/vm/vmtest"
)

// junk is data that a boot loader that rounds sizes up may leave after an initramfs.
const junk = "JUNKJUNKJUNK"

// A machine comes up although its only console has no driver when the kernel starts /init,
// with several kinds of initramfs. The kernel gives /init no file descriptors then. Junk
// after the archive, which some boot loaders leave, is reported and does no harm.
func TestNoInitialConsole(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	const services = "services:\n  AGENT\n"
	out := buildFor(t, compressed, "plain-compressed", services)
	t.Run("hvc0", func(t *testing.T) {
		c := machine(t, out)
		c.VirtConsole = filepath.Join(t.TempDir(), "hvc0")
		c.Initrd = changed(t, c.Initrd, func(b []byte) []byte { return append(b, junk...) })
		checkComesUp(t, c, "console=hvc0", true)
		if text, err := os.ReadFile(c.VirtConsole); err != nil || !strings.Contains(string(text), "keelson: ") || !strings.Contains(string(text), "ready") {
			t.Errorf("hvc0 shows %q, %v", text, err)
		}
	})
	// The builder's device nodes suffice for an /init that makes none.
	t.Run("null", func(t *testing.T) {
		tier.Long(t)
		dir := vmtest.Folder(t, "init-without-entry")
		vmtest.Program(t, qemu.AMD64, "./init", filepath.Join(dir, "init"))
		checkComesUp(t, machine(t, build(t, "without-entry", services, dir)), "console=null", false)
	})
	// /init needs neither nodes in /dev nor the builder's marks of the beginning and end of
	// the archive.
	t.Run("empty", func(t *testing.T) {
		tier.Long(t)
		c := machine(t, out)
		c.Initrd = unmarked(t, c.Initrd, junk)
		checkComesUp(t, c, "console=", true)
	})
	t.Run("ttyUSB0", func(t *testing.T) {
		tier.Long(t)
		disk := buildFor(t, target{arch: qemu.AMD64, formats: format.KernelSquashfs}, "format-amd64", onRoot)
		i, err := session.Find(disk.File("-squashfs.img"), "")
		if err != nil {
			t.Fatal(err)
		}
		c := vmtest.Fast(t, vm.Config{Config: i.Machine(qemu.Config{Arch: qemu.AMD64, Memory: 1024, CPUs: 1}, "")})
		c.Initrd = unmarked(t, c.Initrd, "")
		c.Append = "root=/dev/vda console=ttyS0"
		checkComesUp(t, c, "console=ttyUSB0", false)
	})
}

// checkComesUp boots a machine with another console in place of the serial one, and
// checks that it gets ready, with or without a warning about the initramfs.
func checkComesUp(t *testing.T, c vm.Config, console string, warned bool) {
	t.Helper()
	c.Append = strings.Replace(c.Append, "console=ttyS0", console, 1) + " panic=-1"
	v := vmtest.Boot(t, c)
	text := v.File(timeline.Path)
	for ctx := vmtest.Context(t); !strings.Contains(text, timeline.Ready) && ctx.Err() == nil; text = v.File(timeline.Path) {
		time.Sleep(100 * time.Millisecond) // The agent is a service and may answer before the system is ready.
	}
	if !strings.Contains(text, timeline.Ready) || strings.Contains(text, "the image is complete") != warned {
		t.Errorf("the timeline is:\n%s", text)
	}
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// A truncated initramfs stops the boot, and the message blames the archive, not a lack of
// memory. The machine reboots after 10 s.
func TestTruncatedInitramfs(t *testing.T) {
	t.Parallel()
	c := machine(t, buildFor(t, compressed, "plain-compressed", "services:\n  AGENT\n"))
	c.Initrd = changed(t, c.Initrd, func(b []byte) []byte { return b[:len(b)-len(b)/8] })
	v := vmtest.Boot(t, c)
	if e := v.Stage(timeline.Fatal); !strings.Contains(e.Result, "truncated or corrupt") || strings.Contains(e.Result, "memory") {
		t.Errorf("the message is %q", e.Result)
	}
	v.Exit(vm.Rebooted)
}

// unmarked returns an initramfs of the same files as another builder makes it, without
// nodes in /dev and without marks of its beginning and end, followed by after.
func unmarked(t *testing.T, initrd, after string) string {
	t.Helper()
	return changed(t, initrd, func(packed []byte) []byte {
		z, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		archive, err := z.DecodeAll(packed, nil)
		if err != nil {
			t.Fatal(err)
		}
		for old, other := range map[string]string{"dev/null": "dev/nul_", "dev/console": "dev/consol_",
			"run/keelson/unpacking": "run/keelson/unpackin_", "run/keelson/unpacked": "run/keelson/unpacke_"} {
			// The name follows the last field of its header, the checksum, which is 0.
			name := []byte("00000000" + old + "\x00")
			if bytes.Count(archive, name) != 1 {
				t.Errorf("the archive does not have exactly one entry %s", old)
			}
			archive = bytes.Replace(archive, name, []byte("00000000"+other+"\x00"), 1)
		}
		w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(8<<20))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		return append(w.EncodeAll(archive, nil), after...)
	})
}

// changed writes a copy of a file with other contents.
func changed(t *testing.T, file string, change func([]byte) []byte) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "initrd.img")
	if err := os.WriteFile(name, change(data), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// /init of arm64, which has its own entry point, starts without file descriptors too. Its
// log shows on the kernel's early console.
func TestNoInitialConsoleOnARM64(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	tier.Long(t)
	const arch = qemu.ARM64
	yaml := fmt.Sprintf("kernel: {image: %q, modules: []}\ninit: [%q]\n", vmtest.KernelOf(arch), "dir:"+bare(t, arch))
	out := vmtest.Build(t, image.Options{YAML: []byte(yaml), Name: "bare-" + arch, Arch: arch})
	c := machineOf(t, arch, out)
	c.Initrd = unmarked(t, c.Initrd, "")
	c.Append = "console=ttyUSB0 keep_bootcon ignore_loglevel panic=-1 earlycon=pl011,0x9000000"
	v := vmtest.Boot(t, c)
	v.Line("unable to open an initial console")
	v.Line("keelson: .* boot: done")
}

// bare returns a root with only /init, which is built as in the Makefile.
func bare(t *testing.T, arch string) string {
	t.Helper()
	dir := vmtest.Folder(t, "bare-root-"+arch)
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -E main.entry", "-o", filepath.Join(dir, "init"), "./init")
	build.Dir = vmtest.Repository(t)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build init: %v\n%s", err, out)
	}
	return dir
}
