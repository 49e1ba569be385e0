package tests

import (
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/image/format"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/session"
	"keelson/testvm/vm/vmtest"
)

// onRoot has a container that writes to its root, an overlay over the system's root.
const onRoot = `
files:
  - {path: var/lib/site/data, contents: "of the image", mode: "0640", uid: 70, gid: 71}
  - {path: run/site/data, contents: "of the image", mode: "0644"}
onboot:
  - name: writable
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "echo written >/file; grep -q written /file"]
services:
  AGENT
`

// Every documented combination of format, architecture, machine and bus brings up all
// services and powers down when its button is pressed. In make test, other tests boot some of
// them: kernel+initrd on q35 (most), kernel+initrd on arm64 (TestDemoOnARM64), raw-efi on amd64
// (TestPersistentPartition).
func TestFormats(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	boots := format.Boots()
	r := report{rows: make([]string, len(boots))}
	t.Cleanup(func() { r.write(t) }) // when the parallel tests have ended
	for i, b := range boots {
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			if !b.Often {
				tier.Long(t)
			}
			r.rows[i] = row(t, b, bootFormat(t, b))
		})
	}
}

// bootFormat boots an image and powers it off. It returns the cost of the boot.
func bootFormat(t *testing.T, b format.Boot) measured {
	if b.Format.Start == format.ByBoard {
		return bootBoard(t, b)
	}
	to := target{arch: b.Arch, formats: b.Format.Name}
	if b.Format.Start == format.ByRoot && slices.Contains([]string{format.SATA, format.USB, format.SD}, b.Bus) {
		to.kernel = "deb:linux-image-" + b.Arch // The cloud kernel has no drivers for these.
	}
	if b.Arch == qemu.S390X || b.Arch == qemu.RISCV {
		to.kernel = "deb:linux-image-" + b.Arch // There is no cloud kernel.
	}
	out := buildFor(t, to, strings.ReplaceAll("format-"+b.Arch+to.kernel, ":", "-"), onRoot)
	m := measured{size: sizeOf(t, out.Files)}
	i, err := session.Find(out.File(b.Format.Files[0]), "")
	if err != nil {
		t.Fatal(err)
	}
	c := i.Machine(qemu.Config{Arch: b.Arch, Machine: b.Machine, Memory: 1024, CPUs: 1}, b.Bus)
	for n := range c.Disks {
		if d := &c.Disks[n]; !d.ReadOnly { // Another machine may have the same disk.
			d.Path = diskCopy(t, d.Path, b.Bus)
		}
	}
	began := time.Now()
	v := vmtest.Boot(t, vm.Config{Config: c})
	m.guest = v.Stage(timeline.Ready).At
	m.wall, m.cpu = time.Since(began), v.CPUTime()
	checkStart(t, v, b)
	if err := v.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
	return m
}

// diskCopy copies a disk, and extends it to a power of two for the bus that needs that: the
// size of an SD card.
func diskCopy(t *testing.T, disk, bus string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(disk))
	tool(t, "cp", "--sparse=always", disk, to)
	info, err := os.Stat(to)
	if err == nil && bus == format.SD {
		err = os.Truncate(to, 1<<bits.Len(uint(info.Size()-1)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// checkStart checks that the machine was started as the format says, and that containers
// work on its root.
func checkStart(t *testing.T, v *vmtest.VM, b format.Boot) {
	t.Helper()
	_, err := v.ReadFile(vmtest.Context(t), "/sys/firmware/efi/fw_platform_size")
	if isUEFI := b.Format.Start == format.ByUEFI; isUEFI != (err == nil) {
		t.Errorf("started by UEFI: %v, want %v", err == nil, isUEFI)
	}
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Onboot && e.Result != "exited 0" {
			t.Errorf("a container cannot write to its root: %v", e)
		}
	}
	if b.Format.Root != "" {
		checkRootOn(t, v, b.Format.Root)
	}
	if !strings.Contains(v.File("/proc/cmdline"), network) {
		t.Errorf("the command line is %q", v.File("/proc/cmdline"))
	}
}
