package tests

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// largeYAML has a service that is ready when its program says so.
const largeYAML = `services:
  - name: large
    image: dir:%s
    command: ["/testapp", "ready"]
    readonly: true
    oomScoreAdj: %d
    annotations: {keelson.ready: notify, keelson.swap.probation: 1s}
`

// artifactsDisk is an onboot container that mounts a disk on /var/artifacts.
const artifactsDisk = `  - name: artifacts
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "busybox mkdir /outer/var/artifacts; busybox mount -t ext4 -o ro /dev/vdb /outer/var/artifacts"]
    env: ["PATH=/bin"]
    capabilities: [CAP_SYS_ADMIN, CAP_DAC_OVERRIDE]
    devices: [{path: all, type: b}]
    rootfsPropagation: shared
    binds: ["/dev:/dev", "/:/outer:rshared,rbind"]
`

// TestSwapTimes measures swaps of a service with a root of 100 MiB that cannot be compressed
// (docs/swap.md, "Figures"): as layers, as an erofs image, and beside them restarts. It fails
// only if an order does.
func TestSwapTimes(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	small := payload(t, qemu.AMD64)
	artifacts := t.TempDir()
	largeArtifacts(t, small, 100, artifacts)
	c := machine2(t, build(t, "swap-times", "onboot:\n  VARDISK\n"+artifactsDisk+fmt.Sprintf(largeYAML, small, 0)+"  AGENT\n"))
	disk := filepath.Join(t.TempDir(), "artifacts.img")
	makeExt4(t, disk, "600M", "-d", artifacts)
	c.Disks = []qemu.Disk{{Path: filepath.Join(t.TempDir(), "var.img"), Size: 1 << 30}, {Path: disk}}
	s := swapper{t, vmtest.Boot(t, c)}
	s.Stage(timeline.Ready)
	s.measure("restart of the image's version", 5, func(int) { s.service("", "restart", "large") })
	for _, kind := range []string{image.RootLayers, image.RootErofs} {
		s.measure("restarts, then swap to "+kind, 1, func(int) { s.restartsAndSwap(kind, 0) })
		s.measure("rollback from and to "+kind, 6, func(int) { s.service("", "rollback", "large") })
	}
	for i := range erofsArtifacts - 1 {
		s.restartsAndSwap(image.RootErofs, i+1)
	}
}

// restartsAndSwap logs how long a swap to an artifact takes from its order until the service is
// ready, in comparison with the median of three restarts before.
func (s swapper) restartsAndSwap(kind string, i int) {
	s.Helper()
	var restarts []time.Duration
	for range 3 {
		s.service("", "restart", "large")
		restarts = append(restarts, s.untilReady("order", false))
	}
	slices.Sort(restarts)
	s.Log(s.service("", "swap", "large", fmt.Sprintf("/var/artifacts/%s-%d.tar", kind, i)))
	took := s.untilReady("swap", true)
	s.Logf("swap to %s: ready after %v; restarts %v; ratio %.2f", kind, took, restarts, took.Seconds()/restarts[1].Seconds())
}

// TestSwapGap measures for how long a client of redis, which writes all the time, gets no answer
// (docs/swap.md, "Figures"). It fails only if an order does, or if redis never answers again.
func TestSwapGap(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	dir := t.TempDir()
	good, _ := redisArtifact(t, image.RootErofs, "net: host", "net: host\n    oomScoreAdj: 77")
	put(t, filepath.Join(dir, "artifacts", "good"), good, 0o644)
	c := machine2(t, build(t, "swap-gap", swapImage, dir))
	c.Disks = []qemu.Disk{{Path: filepath.Join(t.TempDir(), "var.img"), Size: 512 << 20}}
	c.Publish = []qemu.Forward{{Guest: 6379}}
	s := swapper{t, vmtest.Boot(t, c)}
	s.Stage(timeline.Ready)
	s.gap("restart", 5, func(int) { s.service("", "restart", "redis") })
	s.gap("swap to an artifact", 1, func(int) { s.service("", "swap", "redis", "/artifacts/good") })
	s.gap("rollback", 6, func(int) { s.service("", "rollback", "redis") })
}

// untilReady returns how long the last order of a kind took until the service was ready. It can log
// what happened meanwhile.
func (s swapper) untilReady(kind string, log bool) (took time.Duration) {
	s.Helper()
	var all []event
	for line := range strings.Lines(s.service("", "events", "--json", "large")) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.Fatal(err)
		}
		if e.Kind == kind && (e.To == "ordered" || e.To == "restart") {
			all = nil
		}
		all = append(all, e)
	}
	for _, e := range all {
		at := (e.At - all[0].At).Round(time.Millisecond)
		if e.Kind == "probe" && e.To == "ready" {
			took = at
		}
		if log {
			s.Logf("%8v %s %s -> %s", at, e.Kind, e.From, e.To)
		}
	}
	if took == 0 {
		s.Fatalf("the service was not ready after the %s: %+v", kind, all)
	}
	return took
}

// event is what the test needs of an event of the supervisor.
type event struct {
	Kind, From, To string
	At             time.Duration
}

// gap logs the longest times between two writes that redis acknowledges, during orders.
func (s swapper) gap(name string, times int, order func(int)) {
	s.Helper()
	ctx := vmtest.Context(s.T)
	var gaps []time.Duration
	for i := range times {
		ordered, longest := make(chan struct{}), make(chan time.Duration, 1)
		go func() { longest <- longestGap(ctx, s.VM, ordered) }()
		begun := time.Now()
		order(i)
		s.Logf("%s: the order took %v", name, time.Since(begun).Round(time.Millisecond))
		close(ordered)
		gaps = append(gaps, (<-longest).Round(time.Millisecond))
	}
	if ctx.Err() != nil {
		s.Fatal("redis does not answer")
	}
	slices.Sort(gaps)
	s.Logf("%s: no answer for %v, median of %v", name, gaps[len(gaps)/2], gaps)
}

// longestGap writes to redis until done is closed and a later write is acknowledged, and
// returns the longest time between two that are.
func longestGap(ctx context.Context, v *vmtest.VM, done <-chan struct{}) (longest time.Duration) {
	c := redisOf(v, -1)
	defer c.Close()
	for last := time.Now(); ctx.Err() == nil; {
		ending := false
		select {
		case <-done:
			ending = true
		default:
		}
		if c.Incr(ctx, "writes").Err() != nil {
			// Not so often that a port is used again whose last connection the guest still has in TIME_WAIT
			// (docs/swap.md): QEMU would wait 6 s.
			time.Sleep(20 * time.Millisecond)
			continue
		}
		longest = max(longest, time.Since(last))
		last = time.Now()
		if ending {
			return longest
		}
	}
	return longest
}

// erofsArtifacts is how many archives with an erofs image there are, each of them another version.
const erofsArtifacts = 3

// largeArtifacts writes archives of each kind, KIND-NUMBER.tar, with a root of a size in MiB.
func largeArtifacts(t *testing.T, program string, size int, out string) {
	t.Helper()
	root := t.TempDir()
	app, err := os.ReadFile(filepath.Join(program, "testapp"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "testapp"), app, 0o755)
	data := make([]byte, 1<<20)
	for i := range size {
		_, _ = rand.Read(data) // It never fails.
		put(t, filepath.Join(root, "data", strconv.Itoa(i)), data, 0o644)
	}
	for i, kind := range append([]string{image.RootLayers}, slices.Repeat([]string{image.RootErofs}, erofsArtifacts)...) {
		_, err := image.WriteArtifact(vmtest.Context(t), image.Options{YAML: fmt.Appendf(nil, largeYAML, root, i+1), File: "large.yml"},
			image.Artifact{Service: "large", Archs: []string{qemu.AMD64}, Root: kind}, image.Target{Name: filepath.Join(out, fmt.Sprintf("%s-%d.tar", kind, max(i-1, 0)))})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// measure logs the times of an order, and by how much it increases the memory in use, in MiB.
func (s swapper) measure(name string, times int, order func(int)) {
	s.Helper()
	s.put("/proc/sys/vm/drop_caches", []byte("3"))
	before := s.memory(vmtest.Context(s.T))
	ctx, cancel := context.WithCancel(vmtest.Context(s.T))
	peak := make(chan int, 1)
	go func() {
		most := before
		for ctx.Err() == nil {
			most = max(most, s.memory(ctx))
			time.Sleep(50 * time.Millisecond)
		}
		peak <- most
	}()
	var took []time.Duration
	for i := range times {
		begun := time.Now()
		order(i)
		took = append(took, time.Since(begun).Round(time.Millisecond))
	}
	cancel()
	most := <-peak
	slices.Sort(took)
	s.Logf("%s: median %v of %v; memory +%d MiB, then %+d MiB", name, took[len(took)/2], took, most-before, s.memory(vmtest.Context(s.T))-before)
}

// memory returns the memory in use without caches that can be freed, in MiB.
func (s swapper) memory(ctx context.Context) int {
	data, err := s.ReadFile(ctx, "/proc/meminfo")
	if err != nil {
		return 0
	}
	values := map[string]int{}
	for line := range bytes.Lines(data) {
		if f := strings.Fields(string(line)); len(f) > 1 {
			values[f[0]], _ = strconv.Atoi(f[1])
		}
	}
	return (values["MemTotal:"] - values["MemAvailable:"]) >> 10
}
