package dhcp

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// waitUntil waits until a time since the boot (CLOCK_BOOTTIME), which also passes while the machine
// is suspended: timers of Go do not count that. It returns false if ctx ends before.
func waitUntil(ctx context.Context, at time.Duration) bool {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return false
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	defer timer.Close()
	at = max(at, 1) // 0 would disarm it.
	value := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &value, nil); err != nil {
		return false
	}
	defer context.AfterFunc(ctx, func() { _ = timer.SetDeadline(time.Unix(1, 0)) })()
	var count [8]byte
	_, err = timer.Read(count[:])
	return err == nil
}
