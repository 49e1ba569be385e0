// Package clock has what keelson knows about the time: which times are plausible, the hardware
// clock, and the trace of the time on a disk, before which a later boot does not begin.
//
// The trace is an empty file, whose modification time counts, as that of systemd-timesyncd(8). The
// hardware clock keeps UTC. Package clock keeps no time by a network: a time service does.
//
// Sources: rtc(4), adjtimex(2), clock_settime(2), Documentation/admin-guide/rtc.rst.
package clock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/paths"
	"keelson/runtime/readfile"
)

const (
	// BuildTime holds the time at which the image was built, in seconds since
	// 1970. The modification time of a file would not do: in an initramfs, it may come
	// from the clock that is to be checked (CONFIG_INITRAMFS_PRESERVE_MTIME).
	BuildTime = "/usr/lib/keelson/build-time"
	// Trace is the file whose modification time is the last one that a system with this disk had.
	Trace = "/var/lib/keelson/clock"
	// Record holds the difference of the wall clock to the time since the boot as keelson has set
	// it, in nanoseconds. Another difference means that something else has set the clock.
	Record = paths.State + "/clock"
	// Hardware is the hardware clock that the kernel uses, too.
	Hardware = "/dev/rtc0"

	// imageYears is the longest time for which an image is assumed to be used.
	imageYears = 20
	// tolerance is the resolution of the hardware clock. Smaller differences mean nothing.
	tolerance = time.Second
	// fileLimit is more than a file with a number has, in bytes.
	fileLimit = 64
)

// Oldest is the earliest plausible time in an image without a build time: a kernel
// that does not know the time starts in 1970.
var Oldest = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)

// Built reads the time at which the image was built. Without a usable file, it
// returns Oldest.
func Built(file string) (time.Time, error) {
	text, err := readfile.Limited(file, fileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return Oldest, nil
	}
	if err != nil {
		return Oldest, fmt.Errorf("the build time is not known: %w", err)
	}
	seconds, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 33) // Up to the year 2242.
	if err != nil {
		return Oldest, fmt.Errorf("cannot use %s: want seconds since 1970: %w", file, err)
	}
	if built := time.Unix(int64(seconds), 0).UTC(); built.After(Oldest) {
		return built, nil
	}
	return Oldest, nil
}

// Implausible returns the reason why now cannot be the time in an image that was
// built at built, or "" if it can.
func Implausible(now, built time.Time) string {
	switch {
	case now.Before(built):
		return "it is before the image was built, " + built.Format(time.RFC3339)
	case now.After(built.AddDate(imageYears, 0, 0)):
		return fmt.Sprintf("it is more than %d years after the image was built, %s", imageYears, built.Format(time.RFC3339))
	}
	return ""
}

// Set sets the system clock.
func Set(to time.Time) error {
	ts := unix.NsecToTimespec(to.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("cannot set the clock to %s: %w", to.Format(time.RFC3339), err)
	}
	return nil
}

// Synchronised reports whether a program keeps the kernel's clock right (adjtimex(2)).
func Synchronised() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

// Remember writes what [WasSet] compares with, in the file record.
func Remember(record string) error {
	epoch, err := epoch()
	if err == nil {
		err = os.MkdirAll(filepath.Dir(record), 0o755)
	}
	if err == nil {
		err = os.WriteFile(record, strconv.AppendInt(nil, int64(epoch), 10), 0o644)
	}
	if err != nil {
		return fmt.Errorf("the time is not written to the hardware clock at shutdown: %w", err)
	}
	return nil
}

// WasSet reports whether something has set the clock since [Remember]. Both clocks of the
// difference run at the same rate, also while a time service corrects it, and in a suspended machine.
func WasSet(record string) (bool, error) {
	text, err := readfile.Limited(record, fileLimit)
	if err != nil {
		return false, err
	}
	before, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return false, fmt.Errorf("cannot use %s: want nanoseconds: %w", record, err)
	}
	now, err := epoch()
	return err == nil && (now-time.Duration(before)).Abs() >= tolerance, err
}

// epoch returns the wall clock minus the time since the boot, since 1970.
func epoch() (time.Duration, error) {
	var wall, boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &wall); err != nil {
		return 0, err
	}
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return 0, err
	}
	return time.Duration(wall.Nano() - boot.Nano()), nil
}

// ReadHardware reads a hardware clock. The error wraps [fs.ErrNotExist] if there is none.
func ReadHardware(device string) (time.Time, error) {
	f, err := os.Open(device)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot read the hardware clock: %w", err)
	}
	defer f.Close()
	rtc, err := unix.IoctlGetRTCTime(int(f.Fd()))
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot read the hardware clock: %w", err)
	}
	return fromRTC(rtc), nil
}

// writeHardware writes the time to a hardware clock, rounded to its second. A clock
// that differs by less than its resolution stays: the kernel may have set it, at the very moment at
// which its second begins (timekeeping of synchronised clocks, sync_hw_clock).
func writeHardware(device string) error {
	old, err := ReadHardware(device)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && time.Since(old).Abs() <= tolerance {
		return nil
	}
	f, err := os.Open(device)
	if err != nil {
		return fmt.Errorf("cannot write the hardware clock: %w", err)
	}
	defer f.Close()
	if err := unix.IoctlSetRTCTime(int(f.Fd()), toRTC(time.Now().Round(time.Second))); err != nil {
		return fmt.Errorf("cannot write the hardware clock: %w", err)
	}
	return nil
}

func fromRTC(t *unix.RTCTime) time.Time {
	return time.Date(int(t.Year)+1900, time.Month(t.Mon+1), int(t.Mday), int(t.Hour), int(t.Min), int(t.Sec), 0, time.UTC)
}

func toRTC(t time.Time) *unix.RTCTime {
	t = t.UTC()
	return &unix.RTCTime{
		Year: int32(t.Year() - 1900), Mon: int32(t.Month()) - 1, Mday: int32(t.Day()),
		Hour: int32(t.Hour()), Min: int32(t.Minute()), Sec: int32(t.Second()),
		Wday: int32(t.Weekday()), Yday: int32(t.YearDay()) - 1,
	}
}
