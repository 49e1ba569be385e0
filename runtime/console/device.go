package console

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// kmsgPriority is facility daemon (3), level debug (7): kept in the kernel
// log, below the level that the kernel itself prints on the console.
const kmsgPriority = "<31>"

// stallLimit is how long a device may accept no byte before it is skipped.
const stallLimit = time.Second

// keptLimit bounds the bytes kept for a device that does not exist yet.
const keptLimit = 64 << 10

// device is one console. Only the writer's goroutine uses it.
type device struct {
	path    string
	fd      int           // -1 when not open
	stall   time.Duration // stallLimit, except in tests
	stalled bool          // it accepted nothing for that long

	opened bool   // it was opened at least once
	kept   []byte // messages from before it could be opened
}

func newDevice(path string) *device { return &device{path: path, fd: -1, stall: stallLimit} }

// write writes as much of text as the device accepts. The rest is lost when the device is
// stalled or gone. A device that could never be opened may appear with its driver, and
// gets the earlier messages then. A terminal is hung up for all processes when the session
// that owns it ends, such as that of a shell on the console; it works when opened again.
func (d *device) write(text string) {
	if !d.open() {
		if !d.opened && len(d.kept)+len(text) <= keptLimit {
			d.kept = append(d.kept, text...)
		}
		return
	}
	rest := append(d.kept, text...)
	d.opened, d.kept = true, nil
	for fresh := false; len(rest) > 0; {
		n, err := unix.Write(d.fd, rest)
		switch {
		case err == nil && n > 0:
			rest, d.stalled = rest[min(n, len(rest)):], false
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if d.stalled || !d.wait() {
				d.stalled = true
				return
			}
		default: // hung up or gone
			d.close()
			if fresh || !d.open() {
				return
			}
			fresh = true
		}
	}
}

// wait reports whether the device accepts bytes again before it counts as stalled.
func (d *device) wait() bool {
	deadline := time.Now().Add(d.stall)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		fds := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n > 0
	}
}

func (d *device) open() bool {
	if d.fd >= 0 {
		return true
	}
	flags := unix.O_WRONLY | unix.O_APPEND | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Open(d.path, flags, 0)
	if err != nil && d.path == Stdout { // A socket cannot be opened. Writing to it may wait.
		fd, err = unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	}
	if err != nil {
		return false
	}
	d.fd = fd
	return true
}

// drain waits until a serial line has sent all bytes, so that a reboot does not cut them
// off. It has no effect on other devices.
func (d *device) drain() {
	if d.fd >= 0 && !d.stalled {
		_ = unix.IoctlSetInt(d.fd, unix.TCSBRK, 1)
	}
}

func (d *device) close() {
	if d.fd >= 0 {
		_ = unix.Close(d.fd)
		d.fd = -1
	}
}
