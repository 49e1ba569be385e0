package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"keelson/runtime/clock"
)

// setClock sets the system clock from the hardware clock, which keeps UTC, unless
// the kernel or the boot loader has set it. An implausible clock is reported and set
// to the build time of the image, at which at least the certificates in the image
// are valid.
func setClock(log *slog.Logger) (string, error) {
	result, err := setFromHardware(log)
	return result, errors.Join(err, clock.Remember(clock.Record))
}

func setFromHardware(log *slog.Logger) (string, error) {
	built, err := clock.Built(clock.BuildTime)
	if err != nil {
		log.Warn("the build time of the image is unknown", "error", err)
	}
	now, source, err := readClock()
	if err != nil {
		log.Warn("the hardware clock is not used", "error", err)
	}
	doubt := clock.Implausible(now, built)
	if doubt == "" && source == byKernel {
		return source, nil
	}
	set := now
	if doubt != "" {
		set = built
		log.Warn("the clock is implausible and is set to the time of the image's build until a time service corrects it",
			"clock", fmt.Sprintf("%s (%s)", now.Format(time.RFC3339), source), "reason", doubt, "set to", set.Format(time.RFC3339))
	}
	if err := clock.Set(set); err != nil {
		return "", err
	}
	return set.Format(time.RFC3339), nil
}

// raiseClock sets the clock to the newest trace of the time on the disk that may have been mounted
// on /var, if that is later, unless the clock has been set meanwhile: by a time client among the
// onboot containers, which knows better.
func raiseClock(log *slog.Logger) error {
	built, _ := clock.Built(clock.BuildTime) // An error was reported before.
	from, to, err := clock.Raise(clock.Trace, clock.Record, built)
	if !to.IsZero() {
		log.Warn("the clock is behind the last time that was stored on the disk, and is set to that until a time service corrects it",
			"clock", from.Format(time.RFC3339), "set to", to.Format(time.RFC3339), "file", clock.Trace)
	}
	return err
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
	if kernelSetClock("/sys/class/rtc") || now.After(clock.Oldest) {
		return now, byKernel, nil
	}
	hardware, err := clock.ReadHardware(clock.Hardware)
	if errors.Is(err, fs.ErrNotExist) {
		return now, byNothing, nil
	}
	if err != nil {
		return now, byNothing, err
	}
	return hardware, byHardware, nil
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
