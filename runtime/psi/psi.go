package psi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"keelson/runtime/cmdline"

	"golang.org/x/sys/unix"
)

// Parameter of the kernel command line sets when a service is restarted.
const Parameter = "keelson.pressure"

// Limits of the kernel for a window.
const (
	shortest = 500 * time.Millisecond
	longest  = 10 * time.Second
)

// A Threshold is a share of the time within a window.
type Threshold struct {
	Percent int           // 1 to 99; 0: none
	Window  time.Duration // 500 ms to 10 s
}

// usual is the threshold of keelson.pressure=on: a machine that loses a fifth of four seconds has
// other problems than a program that starts.
var usual = Threshold{20, 4 * time.Second}

// ParseThreshold reads a value of keelson.pressure=: on, off (which is no threshold), or PERCENT with
// an optional window, such as 20%/4s.
func ParseThreshold(value string) (Threshold, error) {
	switch value {
	case "on":
		return usual, nil
	case "off":
		return Threshold{}, nil
	}
	percent, window, given := strings.Cut(value, "/")
	t := usual
	n, err := strconv.Atoi(strings.TrimSuffix(percent, "%"))
	t.Percent = n
	if given && err == nil {
		t.Window, err = time.ParseDuration(window)
	}
	if err != nil || !strings.HasSuffix(percent, "%") || n < 1 || n > 99 || t.Window < shortest || t.Window > longest {
		return Threshold{}, fmt.Errorf("bad value %q: want on, off, or 1%% to 99%%, optionally with a window from %v to %v, such as 20%%/4s", value, shortest, longest)
	}
	return t, nil
}

// OnCommandLine returns the threshold that a kernel command line sets. The last of several parameters
// wins; a bad value, which the boot reports, sets none.
func OnCommandLine(text string) (t Threshold) {
	if value, ok := cmdline.Parse(text).Last(Parameter); ok {
		t, _ = ParseThreshold(value)
	}
	return t
}

func (t Threshold) String() string { return fmt.Sprintf("%d%%/%v", t.Percent, t.Window) }

// order is what is written to the kernel's file: microseconds that are lost, and of the window. The kernel
// from 6.5 on wants a window of a multiple of 2 s of those who have no CAP_SYS_RESOURCE.
func (t Threshold) order() string {
	window := t.Window.Microseconds()
	return fmt.Sprintf("full %d %d\x00", window*int64(t.Percent)/100, window)
}

// ErrUnknown is returned when the kernel does not measure pressure.
var ErrUnknown = errors.New("the kernel does not measure pressure (it needs CONFIG_PSI, and psi=1 on its command line with CONFIG_PSI_DEFAULT_DISABLED)")

// Trigger is a threshold of the kernel. Make one with Open.
type Trigger struct {
	file string
	fd   int
	wake int // an eventfd
}

// Memory is the file of the whole machine.
const Memory = "/proc/pressure/memory"

// Open sets a threshold in a file such as Memory.
func Open(file string, t Threshold) (*Trigger, error) {
	fd, err := unix.Open(file, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: file, Err: err}
	}
	if _, err := unix.Write(fd, []byte(t.order())); err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil, ErrUnknown
		}
		return nil, fmt.Errorf("cannot set the threshold %v in %s: %w", t, file, err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &Trigger{file, fd, wake}, nil
}

// Wait waits until the threshold is exceeded. What happened before the call does not count. It
// returns the error of ctx when that ends.
//
// It occupies a thread: Go's poller does not wait for what the kernel reports here (POLLPRI), and an
// epoll set within its own would lose it, since psi forgets an event that was polled.
func (t *Trigger) Wait(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _, _ = unix.Write(t.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) })()
	if _, err := t.poll(0); err != nil {
		return err
	}
	for ctx.Err() == nil {
		exceeded, err := t.poll(-1)
		if exceeded || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// poll reports whether the threshold was exceeded since the last call.
func (t *Trigger) poll(milliseconds int) (exceeded bool, err error) {
	fds := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLPRI}, {Fd: int32(t.wake), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, milliseconds); err != nil && err != unix.EINTR {
		return false, os.NewSyscallError("poll", err)
	}
	if fds[0].Revents&(unix.POLLERR|unix.POLLNVAL) != 0 { // The cgroup of the file is gone.
		return false, &os.PathError{Op: "poll", Path: t.file, Err: unix.ENODEV}
	}
	return fds[0].Revents&unix.POLLPRI != 0, nil
}

// Close removes the threshold. Nobody may wait.
func (t *Trigger) Close() error { return errors.Join(unix.Close(t.fd), unix.Close(t.wake)) }
