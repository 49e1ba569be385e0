package tests

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// A hardware clock that cannot be right is reported, and the system starts at
// the time of the image's build; one that can be is believed.
func TestImplausibleClock(t *testing.T) {
	config := machine(build(t, "clock", "services:\n  AGENT\n", toolbox(t)))
	text, err := os.ReadFile(filepath.Join(guestRoot(t), "usr/lib/keelson/build-time"))
	if err != nil {
		t.Fatal(err)
	}
	built := seconds(t, string(text))
	const in2033 = 1988150400
	for rtc, want := range map[string]int64{"1999-12-31T23:59:00": built, "2099-01-01T00:00:00": built, "2033-01-01T00:00:00": in2033} {
		t.Run(rtc, func(t *testing.T) {
			config.RTC = rtc
			v := vmtest.Boot(t, config)
			v.Stage(timeline.Ready)
			if now := seconds(t, v.Output("/usr/bin/busybox", "date", "+%s")); now < want || now > want+3600 {
				t.Errorf("the clock says %d, want %d", now, want)
			}
			if told := strings.Contains(v.Console(), "the clock is not believed"); told != (want == built) {
				t.Errorf("the console tells what was not believed: %v", told)
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
