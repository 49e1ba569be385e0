// Package watchdog opens and feeds the watchdog of a machine: a timer in hardware that
// resets the machine when nothing has fed it for its timeout. PID 1 feeds it
// (init/pid1/watchdog) as long as the supervisor answers: Ask and Answer are the two sides
// of that question. Reasons says what watchdogs know of the reset before this boot.
//
// Sources: the kernel's watchdog/watchdog-api.rst and watchdog/watchdog-kernel-api.rst;
// linux/watchdog.h; unix(7), SOCK_SEQPACKET.
package watchdog

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/paths"
)

const (
	// Parameter is the name of the kernel parameter with the timeout: see ParseTimeout.
	Parameter = "keelson.watchdog"
	// Path is the first watchdog of the machine.
	Path = "/dev/watchdog0"
	// Socket is where the supervisor answers.
	Socket = paths.State + "/watchdog.sock"

	minTimeout, maxTimeout = 5 * time.Second, time.Hour
)

// ParseTimeout parses the value of Parameter: off, which is 0, or a duration from 5 s to
// one hour.
func ParseTimeout(value string) (time.Duration, error) {
	if value == "off" {
		return 0, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < minTimeout || d > maxTimeout {
		return 0, fmt.Errorf("bad value %q: want off, or a duration from 5s to 1h", value)
	}
	return d, nil
}

// Device is an open watchdog. The machine is reset unless Feed is called again before
// Timeout has passed.
type Device struct {
	Identity string        // of the hardware, as its driver calls it
	Timeout  time.Duration // in whole seconds; the hardware may not have the one asked for
	fd       int
}

// Open opens a watchdog, which starts it, and sets its timeout. The error is
// fs.ErrNotExist if there is none, and unix.EBUSY if another process has opened it. If
// the hardware refuses the timeout, it keeps its own.
func Open(path string, timeout time.Duration) (*Device, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	d := &Device{fd: fd, Identity: path, Timeout: timeout}
	if info, err := unix.IoctlGetWatchdogInfo(fd); err == nil {
		d.Identity = string(bytes.TrimRight(bytes.ToValidUTF8(info.Identity[:], nil), "\x00"))
	}
	if err := d.SetTimeout(timeout); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot use %s (%s): %w", path, d.Identity, err), d.Disarm())
	}
	return d, nil
}

// SetTimeout sets the timeout, if the hardware has it, and reads the one that counts. It
// fails if that is not known.
func (d *Device) SetTimeout(timeout time.Duration) error {
	refused := unix.IoctlSetPointerInt(d.fd, unix.WDIOC_SETTIMEOUT, int(timeout/time.Second))
	seconds, err := unix.IoctlGetInt(d.fd, unix.WDIOC_GETTIMEOUT)
	switch {
	case err == nil && seconds > 0:
		d.Timeout = time.Duration(seconds) * time.Second
	case refused != nil:
		return fmt.Errorf("its timeout is not known, and it cannot be set to %v: %w", timeout, refused)
	default: // Drivers without WDIOC_GETTIMEOUT.
		d.Timeout = timeout
	}
	return nil
}

// Feed starts the timeout again.
func (d *Device) Feed() error {
	if err := unix.IoctlWatchdogKeepalive(d.fd); err != nil {
		return fmt.Errorf("cannot feed the watchdog %s: %w", d.Identity, err)
	}
	return nil
}

// Disarm stops the watchdog and closes it. A driver that cannot stop (CONFIG_WATCHDOG_NOWAYOUT)
// resets the machine after the timeout.
func (d *Device) Disarm() error {
	_, err := unix.Write(d.fd, []byte("V")) // The magic character.
	if err = errors.Join(err, unix.Close(d.fd)); err != nil {
		return fmt.Errorf("cannot stop the watchdog %s: %w", d.Identity, err)
	}
	return nil
}
