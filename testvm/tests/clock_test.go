package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// A plausible time of the hardware clock, and its seconds since 1970.
const at2033, in2033 = "2033-01-01T00:00:00", 1988150400

const in2034 = 2019686400 // 2034-01-01T00:00:00

// The service ends only when the hardware clock has been written: it is killed otherwise.
const clockImage = `
onboot:
  VARDISK
services:
  AGENT
  - name: hardware
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "trap 'until [ $(cat /sys/class/rtc/rtc0/since_epoch) -ge 2019686400 ]; do usleep 50000; done; echo written; exit 0' TERM; echo up; while :; do sleep 1; done"]
    readonly: true
    annotations: {keelson.stop.timeout: 5m, keelson.ready: "log:up"}
`

// An implausible time of the hardware clock is reported, and the system starts at the
// time of the image's build; a plausible one is used. No boot begins before the time of the one before on
// the same disk. A time that was set is written to the hardware clock at shutdown.
func TestClocks(t *testing.T) {
	t.Parallel()
	config := machine(t, build(t, "clock", clockImage, toolbox(t)))
	config.Disks = []qemu.Disk{{Path: filepath.Join(t.TempDir(), "var.img"), Size: 64 << 20}}
	text, err := os.ReadFile(filepath.Join(guestRoot(t), "usr/lib/keelson/build-time"))
	if err != nil {
		t.Fatal(err)
	}
	built := seconds(t, string(text))
	for _, c := range []struct {
		rtc     string
		disk    bool
		want    int64
		absurd  bool
		longest bool
	}{
		{at2033, true, in2033, false, false},
		{"1999-12-31T23:59:00", true, in2034, true, false}, // The disk has the time that was set in the boot before.
		{"1999-12-31T23:59:00", false, built, true, true},
		{"2099-01-01T00:00:00", false, built, true, true},
		{at2033, true, in2034, false, true},
	} {
		t.Run(fmt.Sprint(c.rtc, c.disk), func(t *testing.T) {
			if c.longest {
				tier.Long(t)
			}
			config := config
			config.RTC = c.rtc
			if !c.disk {
				config.Disks = nil
			}
			v := vmtest.Boot(t, config)
			v.Stage(timeline.Ready)
			if now := seconds(t, v.Output("/usr/bin/busybox", "date", "+%s")); now < c.want || now > c.want+3600 {
				t.Errorf("the clock is at %d, want %d", now, c.want)
			}
			if reported := strings.Contains(v.Console(), "the clock is implausible"); reported != c.absurd {
				t.Errorf("the console reports an implausible clock: %v, want %v", reported, c.absurd)
			}
			if raised := strings.Contains(v.Console(), "the clock is behind the last time"); raised != (c.want == in2034) {
				t.Errorf("the console reports that the clock was raised: %v", raised)
			}
			if c.want == in2034 { // Nobody has set it since: the hardware clock keeps its time, and the log has that of the first boot.
				if log := v.File("/var/log/hardware.out.log"); !strings.Contains(log, "written") {
					t.Errorf("the hardware clock was not written: %q", log)
				}
				v.Cut()
				return
			}
			v.Output("/usr/bin/busybox", "date", "-s", "@"+strconv.Itoa(in2034))
			v.SignalInit(sigUSR2)
			v.Exit(vm.PoweredDown)
		})
	}
}

func seconds(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
