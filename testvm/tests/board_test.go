package tests

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/image/format"
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"keelson/testvm/vm/session"
	"keelson/testvm/vm/vmtest"
)

// onBoard is a system that keeps data on the card. A board has neither a port for the
// agent nor a power button: the containers report what they find by their exit status,
// and a line typed on the console powers the system off.
const onBoard = `
onboot:
  - name: board
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "CHECKS; MOUNT"]
    capabilities: [CAP_SYS_ADMIN, CAP_DAC_OVERRIDE]
    devices: [{path: all, type: b}]
    rootfsPropagation: shared
    binds: ["/dev:/dev", "/sys:/sys", "/:/outer:rshared,rbind"]
services:
  - name: store
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "echo kept >/store/kept; sync; echo stored; exec sleep 100000"]
    annotations: {keelson.ready: "log:stored"}
    binds: ["/var/lib/store:/store"]
  - name: button
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "exec </dev/ttyS1; echo listening; head -n 1; exec /usr/bin/service poweroff"]
    annotations: {keelson.ready: "log:listening"}
    capabilities: [CAP_DAC_OVERRIDE]
    devices: [{path: all, type: c}]
    binds: ["/dev:/dev", "/run:/run", "/containers:/containers", "/usr/bin/service:/usr/bin/service"]
`

// What the container of the board checks, and how it mounts the partition that holds
// the data of the service.
const (
	boardChecks = "grep -q 'Raspberry Pi 3 Model B' /proc/device-tree/model; [ -c /dev/watchdog ]; " +
		"grep -q BCM2835 /sys/class/watchdog/watchdog0/identity; [ -c /dev/hwrng ]"
	boardMount = "until [ -b /dev/mmcblk0p2 ]; do sleep 0.1; done; [ $(findfs LABEL=data) = /dev/mmcblk0p2 ]; " +
		"mkdir -p /outer/var/lib/store; mount -t ext4 /dev/mmcblk0p2 /outer/var/lib/store"
)

// bootBoard boots a card on its board, stores a file on it, and powers off.
func bootBoard(t *testing.T, b format.Boot) measured {
	to := target{arch: b.Arch, kernel: "deb:linux-image-" + b.Arch, formats: b.Format.Name, cmdline: "console=ttyS1,115200"}
	out := buildFor(t, to, "board-"+b.Arch, strings.NewReplacer("CHECKS", boardChecks, "MOUNT", boardMount).Replace(onBoard))
	m := measured{size: sizeOf(t, out.Files)}
	card := diskCopy(t, out.File(b.Format.Files[0]), b.Bus)
	i, err := session.Find(card, "")
	if err != nil {
		t.Fatal(err)
	}
	if i, err = i.Unpack(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	v := vmtest.Boot(t, vm.Config{Config: i.Machine(qemu.Config{Arch: b.Arch, Machine: b.Machine}, b.Bus)})
	m.guest = v.Stage(timeline.Ready).At
	m.wall, m.cpu = time.Since(began), v.CPUTime()
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Onboot && e.Result != "exited 0" {
			t.Errorf("the board lacks a device: %v", e)
		}
	}
	if _, err := v.Write([]byte("off\n")); err != nil {
		t.Fatal(err)
	}
	v.Exit(vm.PoweredDown)
	checkCardKept(t, card)
	return m
}

// checkCardKept checks that the second partition of the card was unmounted cleanly and
// has the file.
func checkCardKept(t *testing.T, card string) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data.img")
	partition(t, card, 2, data)
	checkClean(t, data)
	checkKept(t, data)
}
