package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	rtcDevice = "/dev/rtc0"
	// buildTimeFile holds the time at which the image was built, in seconds since
	// 1970. The modification time of a file would not do: in an initramfs, it may come
	// from the clock that is to be checked (CONFIG_INITRAMFS_PRESERVE_MTIME).
	buildTimeFile = "/usr/lib/keelson/build-time"
)

// oldest is the earliest plausible time in an image without a build time: a kernel
// that does not know the time starts in 1970.
var oldest = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)

// imageYears is the longest time for which an image is assumed to be used.
const imageYears = 20

// setClock sets the system clock from the hardware clock, which keeps UTC, unless
// the kernel or the boot loader has set it. An implausible clock is reported and set
// to the build time of the image, at which at least the certificates in the image
// are valid.
func setClock(log *slog.Logger) (string, error) {
	built, err := buildTime(buildTimeFile)
	if err != nil {
		log.Warn("the build time of the image is unknown", "error", err)
	}
	now, source, err := readClock()
	if err != nil {
		log.Warn("the hardware clock is not used", "error", err)
	}
	doubt := implausible(now, built)
	if doubt == "" && source == byKernel {
		return source, nil
	}
	set := now
	if doubt != "" {
		set = built
		log.Warn("the clock is implausible and is set to the time of the image's build until a time service corrects it",
			"clock", fmt.Sprintf("%s (%s)", now.Format(time.RFC3339), source), "reason", doubt, "set to", set.Format(time.RFC3339))
	}
	ts := unix.NsecToTimespec(set.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return "", fmt.Errorf("cannot set the clock to %s: %w", set.Format(time.RFC3339), err)
	}
	return set.Format(time.RFC3339), nil
}

// Sources of the time.
const (
	byKernel   = "set by the kernel"
	byHardware = "hardware clock"
	byNothing  = "no hardware clock"
)

// readClock returns the best known time and its source. With an error, the time is
// the one at which the kernel started.
func readClock() (time.Time, string, error) {
	now := time.Now().UTC()
	if kernelSetClock("/sys/class/rtc") || now.After(oldest) {
		return now, byKernel, nil
	}
	f, err := os.Open(rtcDevice)
	if errors.Is(err, fs.ErrNotExist) {
		return now, byNothing, nil
	}
	if err != nil {
		return now, byNothing, fmt.Errorf("cannot read the hardware clock: %w", err)
	}
	defer f.Close()
	rtc, err := unix.IoctlGetRTCTime(int(f.Fd()))
	if err != nil {
		return now, byNothing, fmt.Errorf("cannot read the hardware clock: %w", err)
	}
	return fromRTC(rtc), byHardware, nil
}

// implausible returns the reason why now cannot be the time in an image that was
// built at built, or "" if it can.
func implausible(now, built time.Time) string {
	switch {
	case now.Before(built):
		return "it is before the image was built, " + built.Format(time.RFC3339)
	case now.After(built.AddDate(imageYears, 0, 0)):
		return fmt.Sprintf("it is more than %d years after the image was built, %s", imageYears, built.Format(time.RFC3339))
	}
	return ""
}

// buildTime reads the time at which the image was built. Without a usable file, it
// returns oldest.
func buildTime(file string) (time.Time, error) {
	text, err := readOptional(file)
	if err != nil {
		return oldest, fmt.Errorf("the build time is not known: %w", err)
	}
	if text == nil {
		return oldest, nil
	}
	seconds, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 33) // Up to the year 2242.
	if err != nil {
		return oldest, fmt.Errorf("cannot use %s: want seconds since 1970: %w", file, err)
	}
	if built := time.Unix(int64(seconds), 0).UTC(); built.After(oldest) {
		return built, nil
	}
	return oldest, nil
}

// kernelSetClock reports whether the kernel has set its time from a hardware clock
// (CONFIG_RTC_HCTOSYS).
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
