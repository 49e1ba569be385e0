package tests

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// A plausible time of the hardware clock, and its seconds since 1970.
const at2033, in2033 = "2033-01-01T00:00:00", 1988150400

// An implausible time of the hardware clock is reported, and the system starts at the
// time of the image's build; a plausible one is used.
func TestImplausibleClock(t *testing.T) {
	t.Parallel()
	config := machine(t, build(t, "clock", "services:\n  AGENT\n", toolbox(t)))
	text, err := os.ReadFile(filepath.Join(guestRoot(t), "usr/lib/keelson/build-time"))
	if err != nil {
		t.Fatal(err)
	}
	built := seconds(t, string(text))
	for rtc, want := range map[string]int64{"1999-12-31T23:59:00": built, "2099-01-01T00:00:00": built, at2033: in2033} {
		t.Run(rtc, func(t *testing.T) {
			if rtc != "1999-12-31T23:59:00" {
				tier.Long(t) // TestSystem has a plausible clock.
			}
			config.RTC = rtc
			v := vmtest.Boot(t, config)
			v.Stage(timeline.Ready)
			if now := seconds(t, v.Output("/usr/bin/busybox", "date", "+%s")); now < want || now > want+3600 {
				t.Errorf("the clock is at %d, want %d", now, want)
			}
			if reported := strings.Contains(v.Console(), "the clock is implausible"); reported != (want == built) {
				t.Errorf("the console reports an implausible clock: %v, want %v", reported, want == built)
			}
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
