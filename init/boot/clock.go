package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const rtcDevice = "/dev/rtc0"

// unset is when the clock cannot have been set: a kernel that knows nothing
// starts in 1970.
var unset = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)

// setClock sets the system clock from the hardware clock, which keeps UTC,
// unless the kernel, or who started it, has done so.
func setClock() (string, error) {
	if kernelSetClock("/sys/class/rtc") || time.Now().After(unset) {
		return "set by the kernel", nil
	}
	f, err := os.Open(rtcDevice)
	if errors.Is(err, fs.ErrNotExist) {
		return "no hardware clock", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the hardware clock: %w", err)
	}
	defer f.Close()
	rtc, err := unix.IoctlGetRTCTime(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("cannot read the hardware clock: %w", err)
	}
	now := fromRTC(rtc)
	ts := unix.NsecToTimespec(now.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return "", fmt.Errorf("cannot set the clock to %s: %w", now.Format(time.RFC3339), err)
	}
	return now.Format(time.RFC3339), nil
}

// kernelSetClock looks for the hardware clock from which the kernel took its
// time, if it did (CONFIG_RTC_HCTOSYS).
func kernelSetClock(class string) bool {
	files, _ := filepath.Glob(filepath.Join(class, "*/hctosys"))
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(text)) == "1" {
			return true
		}
	}
	return false
}

func fromRTC(t *unix.RTCTime) time.Time {
	return time.Date(int(t.Year)+1900, time.Month(t.Mon+1), int(t.Mday), int(t.Hour), int(t.Min), int(t.Sec), 0, time.UTC)
}
