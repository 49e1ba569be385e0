package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// costYAML has a file system on /var, and service driver, which restarts and swaps the other one and prints
// the events. All of it is in memory: a disk would take the host's time. The programs that it starts
// belong to the machine, so that the supervisor reads the artifact in place.
const costYAML = `onboot:
  - name: var
    image: deb:e2fsprogs,busybox-static
    command: ["/bin/busybox", "sh", "-ec", "losetup -f; truncate -s 128M /outer/run/var.img; losetup /dev/loop0 /outer/run/var.img; /sbin/mke2fs -q -t ext4 /dev/loop0; mount -t ext4 /dev/loop0 /outer/var; mkdir -p /outer/var/log /outer/var/lib"]
    capabilities: [CAP_SYS_ADMIN, CAP_DAC_OVERRIDE]
    devices: [{path: all, type: b}, {path: all, type: c}]
    rootfsPropagation: shared
    binds: ["/dev:/dev", "/:/outer:rshared,rbind"]
%s
  - name: driver
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "/bin/busybox sh /outer/etc/driver.sh >/outer/dev/console 2>&1"]
    pid: host
    capabilities: [all]
    devices: [{path: all, type: c}]
    binds: ["/:/outer:rbind"]
files:
  - path: etc/driver.sh
    contents: |
      service() { /bin/busybox nsenter -t 1 -m /usr/bin/service "$@"; }
      /bin/busybox sleep %d
      for i in 0 1 2; do
        service swap large /artifacts/erofs-$i.tar
        /bin/busybox sleep 10
        for j in 1 2 3; do
          service restart large
          /bin/busybox sleep 5
        done
      done
      service events --json large
      service poweroff
`

// TestSwapCost measures in virtual time how long the first swaps after a boot take, in comparison
// with restarts of the version (docs/swap.md, "Figures"): in the first minute, and later. It
// fails only if an order does.
func TestSwapCost(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	small, dir := payload(t, qemu.AMD64), t.TempDir()
	artifacts := filepath.Join(dir, "artifacts")
	if err := os.Mkdir(artifacts, 0o755); err != nil {
		t.Fatal(err)
	}
	largeArtifacts(t, small, 16, artifacts)
	for name, after := range map[string]int{"in the first minute": 20, "later": 90} {
		to := target{arch: qemu.AMD64, compression: image.None, cmdline: "console=ttyS0"}
		out := buildFor(t, to, "swap-cost-"+name, fmt.Sprintf(costYAML, fmt.Sprintf(largeYAML, small, 0), after), dir)
		ctx := vmtest.Context(t)
		v, err := vm.Boot(ctx, vm.Config{Config: qemu.Config{Arch: qemu.AMD64, Kernel: out.Kernel, Initrd: out.Initrd,
			Append: vm.ConsoleArgs(out.Cmdline, qemu.ConsoleDevice(qemu.AMD64)), Memory: 2048, VirtualTime: true, Seed: 1}})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		if _, err := v.WaitExit(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s:", name)
		logCosts(t, v.Console())
	}
}

// logCosts logs the time from each swap and restart in a console's events until the service was
// ready, and the ratios.
func logCosts(t *testing.T, console string) {
	t.Helper()
	var swaps, restarts []time.Duration
	var ordered, stop event
	for line := range strings.Lines(console) {
		var e event
		at := strings.Index(line, `{"id":`)
		if at < 0 || json.Unmarshal([]byte(strings.TrimSpace(line[at:])), &e) != nil {
			continue
		}
		switch {
		case e.To == "ordered" || e.Kind == "order":
			ordered = e
		case e.To == "restarting":
			stop = e
		case e.Kind == "probe" && e.To == "ready" && ordered.Kind == "swap":
			t.Logf("swap: ready after %v, stop after %v", e.At-ordered.At, stop.At-ordered.At)
			swaps = append(swaps, e.At-ordered.At)
		case e.Kind == "probe" && e.To == "ready" && ordered.Kind == "order":
			restarts = append(restarts, e.At-ordered.At)
		}
	}
	if len(swaps) != erofsArtifacts || len(restarts) < 3 {
		t.Fatalf("%d swaps, %d restarts: %s", len(swaps), len(restarts), console)
	}
	t.Logf("restarts: %v", restarts)
	slices.Sort(restarts)
	for _, s := range swaps {
		t.Logf("ratio %.2f", s.Seconds()/restarts[len(restarts)/2].Seconds())
	}
}
