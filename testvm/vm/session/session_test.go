package session_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/testvm/image/format"
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"keelson/testvm/vm/session"
	"keelson/testvm/vm/vmtest"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	write := func(names ...string) {
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("quiet\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	demo := filepath.Join(dir, "demo")
	fails := func(path, format, want string) {
		t.Helper()
		if i, err := session.Find(path, format); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s as %q: %+v, %v; want %q", path, format, i, err, want)
		}
	}
	finds := func(path, format, kernel, initrd, disk string) {
		t.Helper()
		i, err := session.Find(path, format)
		got := []string{filepath.Base(i.Kernel), filepath.Base(i.Initrd), filepath.Base(i.Disk)}
		if err != nil || !slices.Equal(got, []string{kernel, initrd, disk}) {
			t.Errorf("%s as %q: %q, %v", path, format, got, err)
		}
	}
	fails(dir, "", "no file ends in")
	write("demo-kernel", "demo-initrd.img", "demo-cmdline", "demo.tar", "demo-oci.tar")
	for _, path := range []string{dir, demo, demo + "-initrd.img"} {
		finds(path, "", "demo-kernel", "demo-initrd.img", ".")
	}
	fails(demo, "kernel+erofs", "-erofs.img")
	write("demo-erofs.img", "demo-erofs-initrd.img")
	finds(demo, "", "demo-kernel", "demo-initrd.img", ".")
	for _, path := range []string{demo, demo + "-erofs.img", dir} {
		finds(path, map[string]string{demo: "kernel+erofs", dir: "kernel+erofs"}[path], "demo-kernel", "demo-erofs-initrd.img", "demo-erofs.img")
	}
	write("demo-microvm.img", "demo-microvm-kernel", "demo-microvm-cmdline")
	finds(dir, "microvm", "demo-microvm-kernel", ".", "demo-microvm.img")
	finds(demo+"-microvm.img", "", "demo-microvm-kernel", ".", "demo-microvm.img")
	finds(demo, "", "demo-kernel", "demo-initrd.img", ".")
	finds(dir, "", "demo-kernel", "demo-initrd.img", ".")
	fails(demo+".tar", "", "no machine boots format tar")
	fails(demo, "oci", "no machine boots")
	fails(demo+"-cmdline", "", "from its name")
	fails(demo, "floppy", "kernel+initrd")
	write("other-kernel")
	fails(dir, "", "2 images")
	finds(filepath.Join(dir, "other"), "", "other-kernel", ".", ".")
}

func TestMachineOfImage(t *testing.T) {
	f, err := format.Find(format.KernelErofs)
	if err != nil {
		t.Fatal(err)
	}
	i := session.Image{Format: f, Kernel: "k", Disk: "d", Cmdline: "quiet"}
	data := qemu.Disk{Path: "data"}
	for cmdline, want := range map[string]string{
		"quiet":          "quiet root=/dev/nvme0n1 rootfstype=erofs ro",
		"root=/dev/x":    "root=/dev/x",
		"noroot=/dev/x":  "noroot=/dev/x root=/dev/nvme0n1 rootfstype=erofs ro",
		"a root=LABEL b": "a root=LABEL b",
	} {
		i.Cmdline = cmdline
		c := i.Machine(qemu.Config{Disks: []qemu.Disk{data}}, format.NVMe)
		if strings.TrimSpace(c.Append) != want || len(c.Disks) != 2 || c.Disks[1] != data || c.Disks[0].Path != "d" || !c.Disks[0].ReadOnly {
			t.Errorf("got %+v", c)
		}
	}
}

// A microVM's command line names its root.
func TestMicroVMOfImage(t *testing.T) {
	f, err := format.Find(format.MicroVMs)
	if err != nil {
		t.Fatal(err)
	}
	i := session.Image{Format: f, Kernel: "k", Disk: "d", Cmdline: "quiet root=/dev/vda"}
	if c := i.Machine(qemu.Config{}, ""); c.Machine != "microvm" || c.Append != i.Cmdline || !c.Disks[0].ReadOnly {
		t.Errorf("got %+v", c)
	}
	if c := i.Machine(qemu.Config{Machine: "q35"}, ""); c.Machine != "q35" {
		t.Errorf("the machine asked for was replaced: %+v", c)
	}
}

// A disk is started by the firmware of its format.
func TestMachineOfDisk(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]qemu.Config{
		"a-efi.img":   {Firmware: qemu.UEFI, Disks: []qemu.Disk{{}}},
		"b-efi.qcow2": {Firmware: qemu.UEFI, Disks: []qemu.Disk{{Format: "qcow2"}}},
		"c-efi.iso":   {Firmware: qemu.UEFI, Disks: []qemu.Disk{{Bus: "cdrom"}}},
		"d-bios.img":  {Firmware: qemu.BIOS, Disks: []qemu.Disk{{}}},
		"e-rpi.img":   {Machine: format.Raspi3B, Disks: []qemu.Disk{{Bus: "sd"}}},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		want.Disks[0].Path = file
		for _, path := range []string{file, strings.TrimRight(file[:len(dir)+2], "-")} {
			i, err := session.Find(path, "")
			if got := i.Machine(qemu.Config{}, ""); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %v", path, got, err)
			}
		}
		arch, err := session.Image{Format: mustFind(t, file), Disk: file}.Arch()
		if known, ok := map[string]string{"b-efi.qcow2": "", "d-bios.img": qemu.AMD64, "e-rpi.img": qemu.ARM64}[name]; arch != known || (err == nil) != ok {
			t.Errorf("%s is for %q, %v", name, arch, err)
		}
	}
}

func mustFind(t *testing.T, file string) format.Format {
	t.Helper()
	f, _, ok := format.ByFile(file)
	if !ok {
		t.Fatal(file)
	}
	return f
}

func TestUnattended(t *testing.T) {
	cases := []struct {
		do, until string
		timeout   time.Duration
		want      error
		output    string
	}{
		{"ready", session.UntilReady, time.Minute, nil, "powered itself down"},
		{"poweroff", session.UntilShutdown, time.Minute, nil, "AT"},
		{"degraded", session.UntilReady, time.Minute, vm.ErrStage, "failed: broken"},
		{"panic", session.UntilShutdown, time.Minute, vm.ErrPanic, "Kernel panic"},
		{"hang", session.UntilReady, 5 * time.Second, context.DeadlineExceeded, "kernel"},
	}
	for _, c := range cases {
		t.Run(c.do, func(t *testing.T) {
			var out bytes.Buffer
			picture := filepath.Join(t.TempDir(), "boot.svg")
			err := session.Run(t.Context(), session.Options{
				VM: vmtest.Tiny(t, c.do), Until: c.until, Timeout: c.timeout, Stdout: &out, Timeline: picture,
			})
			if svg, err := os.ReadFile(picture); c.do == "ready" && (err != nil || !strings.Contains(string(svg), `class="critical"`)) {
				t.Errorf("%v: the picture of the boot: %s", err, svg)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if !strings.Contains(out.String(), c.output) {
				t.Errorf("printed no %q:\n%s", c.output, out.String())
			}
		})
	}
}

// ctrl-C powers the guest off; the error says that the guest did not get ready.
func TestInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var out bytes.Buffer
	o := session.Options{VM: vmtest.Tiny(t, "unready"), Until: session.UntilReady, Timeout: time.Minute,
		Stdout: onText{&out, "waiting for the power button", interrupt}}
	err := session.Run(ctx, o)
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out.String(), "reboot: Power down") {
		t.Errorf("the guest did not power down:\n%s", out.String())
	}
}

// onText calls f when text has been written.
type onText struct {
	*bytes.Buffer
	text string
	f    func()
}

func (o onText) Write(p []byte) (int, error) {
	n, err := o.Buffer.Write(p)
	if strings.Contains(o.String(), o.text) {
		o.f()
	}
	return n, err
}
