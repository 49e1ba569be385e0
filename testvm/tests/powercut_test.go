package tests

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/image/disk"
	"keelson/testvm/image/fsimage"
	"keelson/testvm/powercut"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

var (
	cuts    = flag.Int("powercut.cuts", tier.Extent(1, 4), "how often the power is cut")
	cutSeed = flag.Uint64("powercut.seed", 0, "seed of the moments and of the lost writes; 0: random")
)

// Size of a disk of the test, in bytes, and the number of cuts that it goes through.
const (
	diskAtFirst = 68 << 20
	diskGrowth  = 96 << 20
	diskMost    = 1 << 30
	diskLife    = 20
)

// cutImage changes the example for the test: redis rewrites its file now and then, versions
// of services are on the disk too, the output of the onboot container shows immediately, and
// there are no modules that the boot does not need.
var cutImage = []string{
	`"--appendfsync", "always"`, `"--appendfsync", "always", "--auto-aof-rewrite-min-size", "1mb"`,
	"/var/persist", "/var/lib/keelson",
	"quiet", "quiet linuxkit.runc_console=1",
	"  cmdline:", "  modules: [virtio_pci, virtio_blk, virtio_net, virtio_rng, virtio_console, overlay, button, evdev]\n  cmdline:",
}

// TestPowerCuts cuts the power of a machine while redis writes or is swapped, and while the
// machine boots, checks or grows its file system. Each time the machine boots again with all
// services, redis is the version before or after the swap, and has every write that it
// acknowledged. Data that were not flushed to the disk are lost at random.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	if *cuts == 0 {
		t.Skip("-powercut.cuts is 0")
	}
	r := newCutter(t, cmp.Or(*cutSeed, rand.Uint64()), cutImage...)
	began := time.Now()
	for r.count < *cuts {
		if err := r.life(min(diskLife, *cuts-r.count)); err != nil {
			t.Fatalf("after %d cuts: %s: %v\nrepeat with: make power-cuts SEED=%d CUTS=%d", r.count, r.perPhase(), err, r.seed, *cuts)
		}
	}
	if r.loads > 0 && r.acked == 0 {
		t.Error("nothing was written")
	}
	t.Logf("seed %d: %d cuts in %v: %s. %d writes acknowledged, none lost. Not flushed: %d units kept, %d lost. %d boots to all services",
		r.seed, r.count, time.Since(began).Round(time.Second), r.perPhase(), r.acked, r.sum.Kept, r.sum.Lost, r.boots)
}

// Without fsync power cuts lose writes, and the test notices it.
func TestPowerCutsLoseWrites(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	tier.Long(t)
	r := newCutter(t, 1, append([]string{`"--appendfsync", "always"`, `"--appendfsync", "no"`}, cutImage[2:]...)...)
	r.moments = slices.DeleteFunc(slices.Clone(moments), func(m moment) bool { return m.phase != loadPhase })
	if err := r.life(10); !errors.Is(err, errLost) {
		t.Errorf("after %d cuts: %v", r.count, err)
	}
}

// cutter is one run of the test.
type cutter struct {
	*testing.T
	rng     *rand.Rand
	seed    uint64
	out     image.Output
	moments []moment
	redis   redisVersions
	count   int
	phases  map[string]int
	boots   int // to all services
	loads   int // of these to be cut under load
	acked   int // writes
	sum     powercut.Summary
}

func newCutter(t *testing.T, seed uint64, change ...string) *cutter {
	tier.Tool(t, "mke2fs", "e2fsprogs")
	known := makeRedisVersions(t, change...)
	change = append(change, "  - dir:../build/${ARCH}/root", "  - dir:../build/${ARCH}/root\n  - dir:"+known.dir)
	out := buildPersistent(t, qemu.AMD64, nil, agentService, change...)
	return &cutter{T: t, rng: rand.New(rand.NewPCG(seed, 0)), seed: seed, moments: moments, redis: known, phases: map[string]int{}, out: out}
}

// perPhase returns the number of cuts in each phase.
func (r *cutter) perPhase() string {
	var parts []string
	for _, m := range moments {
		parts = append(parts, fmt.Sprintf("%s %d", m.phase, r.phases[m.phase]))
	}
	return strings.Join(parts, ", ")
}

// life makes a new disk, cuts the power count times, and ends with a power-off.
func (r *cutter) life(count int) error {
	disk, want := r.newDisk(), &written{seed: r.seed}
	r.redis.may = []string{imageVersion}
	for range count {
		if err := r.cut(disk, want); err != nil {
			return err
		}
		if r.count++; r.count%10 == 0 {
			r.Logf("%s cuts %d: %s; %d writes", time.Now().Format(time.TimeOnly), r.count, r.perPhase(), r.acked+want.total())
		}
	}
	v := r.boot(disk, "")
	defer v.Close()
	if err := r.ready(v, want); err != nil {
		return err
	}
	if err := v.PowerOff(vmtest.Context(r)); err != nil {
		return err
	}
	file, _, size := dataPartition(r.T, disk)
	checkClean(r.T, file)
	if got := blocksOf(r.T, file); got != size/4096 {
		return fmt.Errorf("the file system has %d blocks of 4096 bytes on %d bytes", got, size)
	}
	r.acked += want.total()
	return nil
}

// newDisk makes a disk with a partition for data and free space after it.
func (r *cutter) newDisk() string {
	dir, id := r.TempDir(), uuid.NewSHA1(uuid.NameSpaceOID, []byte("power cuts"))
	file, part := filepath.Join(dir, "disk.img"), filepath.Join(dir, "data.img")
	ext4 := fsimage.Ext4{Label: "data", Size: image.DataSize, Time: time.Unix(0, 0), ID: id}
	plan := disk.Plan{Scheme: []disk.Scheme{disk.GPT, disk.MBR}[r.rng.IntN(2)], Size: diskAtFirst, ID: id,
		Partitions: []disk.Partition{{Name: "data", Kind: disk.LinuxData, Size: ext4.Size, Content: part}}}
	if err := errors.Join(ext4.Make(vmtest.Context(r), part), plan.Write(file)); err != nil {
		r.Fatal(err)
	}
	for range 2 { // Versions of redis need room.
		r.grow(file)
	}
	return file
}

// grow enlarges a disk and reports whether it did; it does not exceed diskMost.
func (r *cutter) grow(disk string) bool {
	info, err := os.Stat(disk)
	if err != nil {
		r.Fatal(err)
	}
	if info.Size()+diskGrowth > diskMost {
		return false
	}
	if err := os.Truncate(disk, info.Size()+diskGrowth); err != nil {
		r.Fatal(err)
	}
	return true
}

func (r *cutter) boot(disk, log string) *vmtest.VM {
	c := machine(r, r.out)
	c.Publish = []qemu.Forward{{Guest: 6379}}
	c.Disks = []qemu.Disk{{Path: disk, Log: log}}
	return vmtest.Boot(r, c)
}

// ready waits for all services and checks what redis has.
func (r *cutter) ready(v *vmtest.VM, want *written) error {
	e := v.Stage(timeline.Ready, timeline.Rescue, timeline.Degraded)
	if e.Stage != timeline.Ready {
		return fmt.Errorf("the machine does not get ready: %v\n%s", e, v.Console())
	}
	r.boots++
	if err := want.check(vmtest.Context(r), v); err != nil {
		return fmt.Errorf("%w\n%s", err, v.Console())
	}
	if err := r.redis.check(r.T, v); err != nil {
		return fmt.Errorf("%w\n%s", err, v.Console())
	}
	return nil
}

// cut boots, cuts the power at a random moment, and writes to the disk what a real one
// would have.
func (r *cutter) cut(disk string, want *written) error {
	m := r.choose(disk)
	dir := r.TempDir()
	defer os.RemoveAll(dir)
	used, log := filepath.Join(dir, "used.img"), filepath.Join(dir, "log")
	tool(r.T, "cp", "--sparse=always", disk, used)
	began := time.Now()
	v := r.boot(used, log)
	defer v.Close()
	ended := func() {}
	lasts := m.lasts
	if m.phase == loadPhase || m.phase == swapPhase {
		if err := r.ready(v, want); err != nil {
			return err
		}
		ended = want.load(v)
		want.more(vmtest.Context(r))
		r.loads++
	} else {
		v.Line(m.begins.String())
	}
	slow := float64(time.Since(began)) / float64(m.at)
	answered := func() {}
	if m.phase == swapPhase {
		lasts, answered = r.swapRedis(v, m.lasts)
	}
	time.Sleep(time.Duration(slow * r.rng.Float64() * float64(lasts)))
	v.Cut()
	ended()
	answered()
	r.phases[phaseOf(v.Console())]++
	if strings.Contains(v.Console(), "disk: cannot") {
		return fmt.Errorf("the persist container failed:\n%s", v.Console())
	}
	return r.replay(disk, log)
}

// replay writes to the disk what it has after the cut.
func (r *cutter) replay(disk, log string) error {
	sum, err := replay(r.rng, disk, log)
	r.sum.Kept, r.sum.Lost = r.sum.Kept+sum.Kept, r.sum.Lost+sum.Lost
	return err
}

// replay writes to a disk all data of a log that were flushed, and none, all or a random part of
// the rest.
func replay(rng *rand.Rand, disk, log string) (powercut.Summary, error) {
	share := []float64{0, 1, rng.Float64(), rng.Float64()}[rng.IntN(4)]
	d, diskErr := os.OpenFile(disk, os.O_WRONLY, 0)
	l, logErr := os.Open(log)
	if err := errors.Join(diskErr, logErr); err != nil {
		return powercut.Summary{}, err
	}
	defer d.Close()
	defer l.Close()
	return powercut.Replay(d, l, func() bool { return rng.Float64() < share })
}
