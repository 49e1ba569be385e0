package tests

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/image/disk"
	"keelson/testvm/image/format"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/session"
	"keelson/testvm/vm/vmtest"
)

// buildPersistent builds examples/persistent.yml with more services. change has pairs of
// old and new text.
func buildPersistent(t *testing.T, arch string, formats []string, services string, change ...string) image.Output {
	t.Helper()
	tier.VM(t)
	if _, err := os.Stat(filepath.Join(guestRootOf(t, arch), "../disk/usr/bin/disk")); err != nil {
		tier.Skip(t, "VM tier: the guest is not built (make): %v", err)
	}
	file := filepath.Join(vmtest.Repository(t), "examples/persistent.yml")
	yaml, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(change...).Replace(string(yaml)) +
		strings.ReplaceAll(services, "PAYLOAD", payload(t, arch))
	o := image.Options{YAML: []byte(text), File: file, Name: "persistent", Arch: arch, OutDir: t.TempDir(), Formats: formats}
	if len(formats) > 0 {
		o.Data = &image.Data{Label: "data"}
	} else {
		o.Compression = image.None // Unpacking would be the longest part of the boot.
	}
	out, err := image.Build(vmtest.Context(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A partition for data at the end of a disk grows with the disk at the first boot, keeps
// what a service writes, and is unmounted at shutdown. The rest of the disk does not
// change.
func TestPersistentPartition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format, arch, bus, device string
		often                     bool
	}{
		{format.RawEFI, format.AMD64, format.Virtio, "vda2", true},
		{format.RawBIOS, format.AMD64, format.Virtio, "vda2", false},
		{format.Qcow2EFI, format.AMD64, format.NVMe, "nvme0n1p2", false},
		{format.RawEFI, format.ARM64, format.Virtio, "vda2", false},
	} {
		t.Run(c.format+"/"+c.arch, func(t *testing.T) {
			if !c.often {
				tier.Long(t)
			}
			out := buildPersistent(t, c.arch, []string{c.format}, agentService)
			i, err := session.Find(out.Files[0], "")
			if err != nil {
				t.Fatal(err)
			}
			enlarge(t, i.Disk, 400<<20)
			boot := outside(t, i.Disk)
			config := vmtest.Fast(t, vm.Config{Config: i.Machine(qemu.Config{Arch: c.arch, Memory: 1024, CPUs: 1, Publish: []qemu.Forward{{Guest: 6379}}}, c.bus)})
			bootTwice(t, config, c.device)
			raw, start, size := dataPartition(t, i.Disk)
			if free := 400<<20 - start - size; free > 2<<20 {
				t.Errorf("%d bytes are free after the partition", free)
			}
			checkClean(t, raw)
			if got := blocksOf(t, raw); got != size/4096 {
				t.Errorf("the file system has %d blocks of 4096 bytes on %d bytes", got, size)
			}
			if outside(t, i.Disk) != boot {
				t.Error("the boot partition has changed")
			}
		})
	}
}

// bootTwice boots, writes, and boots again to read. Each boot ends with a power-off.
func bootTwice(t *testing.T, c vm.Config, device string, checks ...func(*vmtest.VM)) {
	t.Helper()
	for boot := 1; boot <= 2; boot++ {
		v := vmtest.Boot(t, c)
		v.Stage(timeline.Ready)
		if mounts := v.File("/proc/1/mounts"); !strings.Contains(mounts, "/dev/"+device+" /var/persist ext4") {
			t.Fatalf("%s is not on /var/persist:\n%s", device, mounts)
		}
		if grown := strings.Contains(v.Console(), "disk: growing partition"); grown != (boot == 1 && strings.HasSuffix(device, "2")) {
			t.Errorf("boot %d: the partition was enlarged: %v", boot, grown)
		}
		if err := v.WriteFile(vmtest.Context(t), "/written", nil, 0o644); err == nil {
			t.Error("the root is writable")
		}
		remember(t, v, boot)
		for _, check := range checks {
			check(v)
		}
		if err := v.PowerOff(vmtest.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// remember adds a value to redis, and checks that it has one of each earlier boot.
func remember(t *testing.T, v *vmtest.VM, boot int) {
	t.Helper()
	ctx := vmtest.Context(t)
	r := redis.NewClient(&redis.Options{Addr: v.Addr(6379), MaxRetries: 200, MaxRetryBackoff: 50 * time.Millisecond, DisableIdentity: true})
	defer r.Close()
	if n, err := r.RPush(ctx, "boots", boot).Result(); err != nil || n != int64(boot) {
		t.Errorf("boot %d: redis has %d values, %v", boot, n, err)
	}
}

// A machine that boots from elsewhere stores its data on a disk that is empty at first. If
// there is no such disk, one line reports it and no service is started. The services have
// user namespaces.
func TestPersistentDisk(t *testing.T) {
	t.Parallel()
	out := buildPersistent(t, qemu.AMD64, nil, agentService+webService, slices.Concat(ownUsers, []string{`"data", "-label"`, `"data", "-format", "/dev/vda", "-wait", "1s", "-label"`})...)
	c := machine(t, out)
	c.Publish = []qemu.Forward{{Guest: 6379}}
	disk := filepath.Join(t.TempDir(), "data.img")
	c.Disks = []qemu.Disk{{Path: disk, Size: 128 << 20}}
	bootTwice(t, c, "vda", checkOwnUsers(t))
	checkClean(t, disk)
	checkOwners(t, disk)
	if got := blocksOf(t, disk); got != 128<<20/4096 {
		t.Errorf("the file system has %d blocks of 4096 bytes on 128 MiB", got)
	}
	t.Run("not empty", func(t *testing.T) {
		if err := os.WriteFile(disk, append(make([]byte, 1<<20-1), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		before := sum(t, disk)
		refuses(t, c, "disk: no file system has the label data, and /dev/vda is not empty: left alone$")
		if sum(t, disk) != before {
			t.Error("the disk has changed")
		}
	})
	t.Run("none", func(t *testing.T) {
		tier.Long(t)
		c.Disks = nil
		refuses(t, c, "disk: no file system has the label data; looked at:")
	})
	t.Run("two", func(t *testing.T) {
		tier.Long(t)
		c.Disks = nil
		for _, name := range []string{"a", "b"} {
			d := filepath.Join(t.TempDir(), name)
			makeExt4(t, d, "32M", "-L", "data")
			c.Disks = append(c.Disks, qemu.Disk{Path: d})
		}
		refuses(t, c, "disk: several devices are possible, none is chosen: file system with the label data: vda vdb$")
	})
}

// refuses boots a machine and expects the line and the rescue prompt.
func refuses(t *testing.T, c vm.Config, line string) {
	t.Helper()
	v := vmtest.Boot(t, c)
	v.Line(line)
	v.Line("rescue>")
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Service {
			t.Errorf("a service was started: %v", e)
		}
	}
	if err := v.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
}

func enlarge(t *testing.T, disk string, size int64) {
	t.Helper()
	if strings.HasSuffix(disk, ".qcow2") {
		tool(t, "qemu-img", "resize", "-q", disk, strconv.FormatInt(size, 10))
	} else if err := os.Truncate(disk, size); err != nil {
		t.Fatal(err)
	}
}

// raw returns a disk in raw format, converted if it is in QEMU's.
func raw(t *testing.T, disk string) string {
	t.Helper()
	if !strings.HasSuffix(disk, ".qcow2") {
		return disk
	}
	out := filepath.Join(t.TempDir(), "raw.img")
	tool(t, "qemu-img", "convert", "-O", "raw", disk, out)
	return out
}

// dataPartition copies the last partition of a disk and returns its position in bytes.
func dataPartition(t *testing.T, disk string) (file string, start, size int64) {
	t.Helper()
	disk = raw(t, disk)
	tool(t, "sfdisk", "--verify", disk)
	file = filepath.Join(t.TempDir(), "data.img")
	start, size = partition(t, disk, -1, file)
	return file, start, size
}

// outside returns a digest of the bytes between the partition table and the data
// partition.
func outside(t *testing.T, disk string) string {
	t.Helper()
	disk = raw(t, disk)
	_, start, _ := dataPartition(t, disk)
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 1<<20, start-1<<20)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func sum(t *testing.T, file string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

func blocksOf(t *testing.T, disk string) int64 {
	t.Helper()
	out, err := exec.Command("dumpe2fs", "-h", disk).Output()
	found := regexp.MustCompile(`Block count: +(\d+)`).FindSubmatch(out)
	if err != nil || found == nil {
		t.Fatalf("%s has no file system: %v", disk, err)
	}
	n, _ := strconv.ParseInt(string(found[1]), 10, 64)
	return n
}

// A GPT whose first copy was half written when the power was cut is repaired from the
// backup at the end of the disk, if no firmware has done so.
func TestPersistentTornTable(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	tier.Tool(t, "sfdisk", "fdisk")
	out := buildPersistent(t, qemu.AMD64, nil, "")
	dir := t.TempDir()
	file, part := filepath.Join(dir, "disk.img"), filepath.Join(dir, "data.img")
	makeExt4(t, part, "32M", "-L", "data", "-b", "4096")
	err := disk.Plan{Scheme: disk.GPT, Size: 100 << 20, ID: uuid.New(),
		Partitions: []disk.Partition{{Name: "data", Kind: disk.LinuxData, Size: 32 << 20, Content: part}}}.Write(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The last sector of the first partition's entry, which the header's checksum covers.
	_, err = f.WriteAt([]byte{1}, 2*512+40)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	c := machine(t, out)
	c.Disks = []qemu.Disk{{Path: file}}
	v := vmtest.Boot(t, c)
	v.Stage(timeline.Ready)
	if err := v.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
	data, _, size := dataPartition(t, file)
	checkClean(t, data)
	if got := blocksOf(t, data); got != size/4096 || size < 90<<20 {
		t.Errorf("the file system has %d blocks of 4096 bytes on %d bytes", got, size)
	}
}
