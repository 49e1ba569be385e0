package initrd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// uevents is a socket on which the kernel tells of devices.
type uevents struct{ file *os.File }

// listen must come before devices are looked for, so that none is missed.
func listen() (*uevents, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot hear of new devices: %w", err)
	}
	return &uevents{os.NewFile(uintptr(fd), "uevents")}, nil
}

func (u *uevents) close() { _ = u.file.Close() }

// event is what matters of one: the modalias of a device that has come, if it
// has one, or that events were lost.
type event struct {
	modalias string
	lost     bool
}

// next waits for an event.
func (u *uevents) next(ctx context.Context) (event, error) {
	stop := context.AfterFunc(ctx, func() { _ = u.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 16<<10)
	n, err := u.file.Read(buf)
	switch {
	case ctx.Err() != nil:
		return event{}, ctx.Err()
	case errors.Is(err, unix.ENOBUFS):
		return event{lost: true}, nil
	case err != nil:
		return event{}, fmt.Errorf("cannot hear of new devices: %w", err)
	}
	return event{modalias: ParseModalias(string(buf[:n]))}, nil
}

// ParseModalias finds MODALIAS in an event, which is "ACTION@PATH" and fields
// KEY=VALUE, each ended by a zero byte.
func ParseModalias(event string) string {
	head, fields, _ := strings.Cut(event, "\x00")
	if !strings.HasPrefix(head, "add@") {
		return ""
	}
	for field := range strings.SplitSeq(fields, "\x00") {
		if alias, ok := strings.CutPrefix(field, "MODALIAS="); ok {
			return alias
		}
	}
	return ""
}
