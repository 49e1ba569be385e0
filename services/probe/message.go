package probe

import (
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of texts, in bytes.
const (
	largestStatus = 256
	largestReport = 1 << 10
)

// message is a datagram of sd_notify(3), which has lines of KEY=VALUE. X_KEELSON_EVENT is
// keelson's own: what a service reports to the journal of events, one in a message. Other keys,
// such as MAINPID and FDSTORE, are ignored.
type message struct {
	ready, reloading, stopping bool
	alive, trigger             bool           // WATCHDOG=1, WATCHDOG=trigger
	watchdog                   *time.Duration // 0: switched off
	extend                     time.Duration
	status                     *string
	report                     string // X_KEELSON_EVENT
}

func parseMessage(data []byte) message {
	var m message
	for line := range strings.SplitSeq(string(data), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "READY":
			m.ready = m.ready || value == "1"
		case "RELOADING":
			m.reloading = m.reloading || value == "1"
		case "STOPPING":
			m.stopping = m.stopping || value == "1"
		case "WATCHDOG":
			m.alive = m.alive || value == "1"
			m.trigger = m.trigger || value == "trigger"
		case "WATCHDOG_USEC":
			if d, ok := microseconds(value); ok {
				m.watchdog = &d
			}
		case "EXTEND_TIMEOUT_USEC":
			if d, ok := microseconds(value); ok {
				m.extend = d
			}
		case "STATUS":
			text := printable(value, largestStatus)
			m.status = &text
		case "X_KEELSON_EVENT":
			m.report = printable(value, largestReport)
		}
	}
	return m
}

// microseconds parses a time. The largest number means none, which is 0.
func microseconds(value string) (time.Duration, bool) {
	n, err := strconv.ParseUint(value, 10, 64)
	switch {
	case err != nil:
		return 0, false
	case n == math.MaxUint64:
		return 0, true
	}
	return time.Duration(min(n, math.MaxInt64/1000)) * time.Microsecond, true
}

// peek waits for a message, which stays in the socket, and returns its sender. The size is 0
// for a message that is too long or whose sender is not known.
//
// The buffer has room only for the sender's credentials, so this process gets no file
// descriptors of the message.
func peek(raw syscall.RawConn, buffer []byte) (size, pid int, err error) {
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	var n, used, flags int
	var answer error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, used, flags, _, answer = unix.Recvmsg(int(fd), buffer, control, unix.MSG_PEEK|unix.MSG_CMSG_CLOEXEC)
			if !errors.Is(answer, unix.EINTR) {
				return !errors.Is(answer, unix.EAGAIN)
			}
		}
	})
	switch {
	case err != nil:
		return 0, 0, os.ErrClosed // the only possible error
	case answer != nil, flags&unix.MSG_TRUNC != 0:
		return 0, 0, answer
	}
	return n, sender(control[:used]), nil
}

// drop removes the message that peek has returned. The kernel closes file descriptors of the
// message: that satisfies BARRIER=1, whose sender waits until its descriptor is closed, and
// stores nothing of FDSTORE=1.
func drop(raw syscall.RawConn) error {
	var answer error
	err := raw.Control(func(fd uintptr) {
		for {
			_, _, answer = unix.Recvfrom(int(fd), nil, unix.MSG_DONTWAIT)
			if !errors.Is(answer, unix.EINTR) {
				return
			}
		}
	})
	if err != nil || errors.Is(answer, unix.EAGAIN) {
		return nil // It is closed, or there is no message.
	}
	return answer
}

// sender returns the process that the kernel names as the sender; 0 if it is unknown, or
// not in this process's PID namespace.
func sender(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if creds, err := unix.ParseUnixCredentials(&m); err == nil {
			return int(creds.Pid)
		}
	}
	return 0
}
