package tests

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// cutContainers make an encrypted volume on one disk, a swap area on another one, and a swap file in the volume.
const cutContainers = `onboot:
  - name: check
    image: &tools deb:e2fsprogs,fdisk,cryptsetup-bin,util-linux,busybox-static
    command: ["/bin/busybox", "sh", "-xc", "cryptsetup isLuks /dev/vdc1 || exit 0; cryptsetup luksDump /dev/vdc1 | busybox grep -q keelson-new && exit 0; cryptsetup open --disable-keyring --key-file /etc/dm-crypt/key /dev/vdc1 early || exit 0; e2fsck -fn /dev/mapper/early; s=$?; cryptsetup close early; exit $s"]
    env: ["PATH=/usr/sbin:/usr/bin:/bin", "DM_DISABLE_UDEV=1"]
    capabilities: [all]
    binds: &binds ["/usr/bin/disk:/usr/bin/disk:ro", "/dev:/dev", "/sys:/sys", "/etc/dm-crypt:/etc/dm-crypt:ro", "/var:/var:rshared,rbind"]
    devices: &devices [{path: all, type: b}, {path: all, type: c}]
  - name: secret
    image: *tools
    command: ["/usr/bin/disk", "data", "-label", "secret", "-format", "any", "-partition", "gpt", "-crypt", "secret", "-pbkdf", "pbkdf2", "/var/secret"]
    capabilities: &capabilities [CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_MKNOD, CAP_IPC_LOCK, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER]
    binds: *binds
    rootfsPropagation: shared
    devices: *devices
  - name: swap
    image: *tools
    command: ["/usr/bin/disk", "swap", "-label", "swap", "-format", "any", "-partition", "gpt"]
    capabilities: *capabilities
    binds: *binds
    devices: *devices
  - name: swapfile
    image: *tools
    command: ["/usr/bin/disk", "swap", "--file", "/var/secret/swap", "--size", "8M"]
    capabilities: *capabilities
    binds: *binds
    devices: *devices
services:
  AGENT
`

// diskMoments are when the power is cut: after a line, within a share of the time that it took to get there.
var diskMoments = []struct {
	line  *regexp.Regexp
	share float64
}{
	{regexp.MustCompile(`disk: making crypto_LUKS`), 0.7},
	{regexp.MustCompile(`disk: making ext4`), 0.3},
	{regexp.MustCompile(`disk: making swap on`), 0.1},
	{regexp.MustCompile(`disk: making the swap file`), 0.1},
	{regexp.MustCompile(`disk: making a partition table`), 0.2},
}

// TestPowerCutsWhileFormatting cuts the power of a machine that makes an encrypted volume, a swap area and a swap
// file, twice for each machine. Then it boots to all of them, stores something, and has it after another
// boot, with a clean file system. Two other disks, one with a file system and one with bytes that nothing
// recognises, have not changed.
func TestPowerCutsWhileFormatting(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	tier.Long(t)
	key := vmtest.Folder(t, "cut-key")
	put(t, filepath.Join(key, "etc/dm-crypt/key"), []byte(strings.Repeat("0123456789abcdef", 4)), 0o400)
	modules := "virtio_pci, virtio_blk, virtio_rng, virtio_console, overlay, ext4, dm_crypt, xts, algif_skcipher, button, evdev"
	out := buildFor(t, target{arch: qemu.AMD64, modules: modules, compression: image.None}, "disk-cuts", cutContainers, filepath.Join(guestRoot(t), "../disk"), key)
	seed := cmp.Or(*cutSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	f := formatting{T: t, rng: rand.New(rand.NewPCG(seed, 0)), out: out, phases: map[string]int{}}
	for i := range diskMoments {
		if err := f.life(i); err != nil {
			t.Fatalf("seed %d, machine %d: %v", seed, i, err)
		}
	}
	t.Logf("power cuts after: %v", f.phases)
}

// formatting is one run of the test.
type formatting struct {
	*testing.T
	rng    *rand.Rand
	out    image.Output
	phases map[string]int
}

// life cuts the power twice, the first time at a moment that is given.
func (f *formatting) life(first int) error {
	dir := f.TempDir()
	foreign, noise := filepath.Join(dir, "foreign"), filepath.Join(dir, "noise")
	makeExt4(f.T, foreign, "16M", "-L", "foreign")
	random := make([]byte, 1<<20)
	for i := range random {
		random[i] = byte(f.rng.Uint32())
	}
	put(f.T, noise, bytes.Repeat(random, 32), 0o600)
	others := map[string][]byte{foreign: read(f.T, foreign), noise: read(f.T, noise)}
	disks := []qemu.Disk{{Path: foreign}, {Path: noise}, {Path: filepath.Join(dir, "secret"), Size: 64 << 20}, {Path: filepath.Join(dir, "swap"), Size: 32 << 20}}
	for _, d := range disks[2:] {
		put(f.T, d.Path, nil, 0o600)
		enlarge(f.T, d.Path, d.Size)
	}
	for _, moment := range []int{first, f.rng.IntN(len(diskMoments))} {
		if err := f.cut(disks, moment); err != nil {
			return err
		}
	}
	for boot := range 2 {
		if err := f.whole(disks, boot == 0); err != nil {
			return fmt.Errorf("boot %d after the cuts: %w", boot+1, err)
		}
	}
	for file, want := range others {
		if !bytes.Equal(read(f.T, file), want) {
			return fmt.Errorf("the foreign disk %s has changed", filepath.Base(file))
		}
	}
	return nil
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f *formatting) boot(disks []qemu.Disk) *vmtest.VM {
	c := machine(f.T, f.out)
	c.Append += " linuxkit.runc_console=1"
	c.Disks = disks
	return vmtest.Boot(f.T, c)
}

// cut boots, cuts the power within a moment, or at the end of the boot if there is nothing left of it, and
// writes to the disks what real ones would have.
func (f *formatting) cut(disks []qemu.Disk, moment int) error {
	used := append([]qemu.Disk(nil), disks...)
	dir := f.TempDir()
	defer os.RemoveAll(dir)
	for i := 2; i < len(disks); i++ {
		used[i] = qemu.Disk{Path: filepath.Join(dir, fmt.Sprint("used", i)), Log: filepath.Join(dir, fmt.Sprint("log", i))}
		tool(f.T, "cp", "--sparse=always", disks[i].Path, used[i].Path)
	}
	m := diskMoments[moment]
	began := time.Now()
	v := f.boot(used)
	defer v.Close()
	v.Line(m.line.String() + `|keelson: .*\] (ready|degraded):`)
	time.Sleep(time.Duration(float64(time.Since(began)) * m.share * f.rng.Float64()))
	v.Cut()
	phase := "nothing"
	for line := range strings.Lines(v.Console()) {
		if i := strings.Index(line, "disk: "); i >= 0 {
			phase = strings.TrimSpace(line[i:])
		}
	}
	f.phases[phase]++
	if strings.Contains(v.Console(), "left alone") {
		return fmt.Errorf("a disk that was being formatted is left alone:\n%s", v.Console())
	}
	for i := 2; i < len(disks); i++ {
		if _, err := replay(f.rng, disks[i].Path, used[i].Log); err != nil {
			return err
		}
	}
	return nil
}

// whole boots to all that the containers make, and powers off.
func (f *formatting) whole(disks []qemu.Disk, store bool) error {
	v := f.boot(disks)
	defer v.Close()
	if e := v.Stage(timeline.Ready, timeline.Rescue, timeline.Degraded); e.Stage != timeline.Ready {
		return fmt.Errorf("the machine does not get ready: %v\n%s", e, v.Console())
	}
	console := v.Console()
	for n, name := range []string{"check", "secret", "swap", "swapfile"} {
		want := fmt.Sprintf("onboot %03d-%s: exited 0", n, name)
		if name == "check" && store { // Something may be half made before the first boot.
			continue
		}
		if !strings.Contains(console, want) {
			return fmt.Errorf("no line %q\n%s", want, console)
		}
	}
	if mounts := v.File("/proc/1/mounts"); !strings.Contains(mounts, "/dev/mapper/secret /var/secret ext4") {
		return fmt.Errorf("the volume is not mounted:\n%s\n%s", mounts, console)
	}
	if swaps := v.File("/proc/swaps"); strings.Count(swaps, "\n") != 3 || !strings.Contains(swaps, "/vdd1 ") || !strings.Contains(swaps, "/swap ") {
		return fmt.Errorf("swap:\n%s\n%s", swaps, console)
	}
	if store {
		if err := v.WriteFile(vmtest.Context(f.T), "/var/secret/kept", []byte("kept"), 0o600); err != nil {
			return err
		}
	} else if got := v.File("/var/secret/kept"); got != "kept" || strings.Contains(console, "disk: making") || !strings.Contains(console, "e2fsck -fn /dev/mapper/early") {
		return fmt.Errorf("what was stored is %q\n%s", got, console)
	}
	return v.PowerOff(vmtest.Context(f.T))
}
