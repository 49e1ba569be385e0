// Package uevent hears of devices that come up.
//
// Sources: netlink(7), NETLINK_KOBJECT_UEVENT; the kernel's lib/kobject_uevent.c
// and Documentation/core-api/kobject.rst.
package uevent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Events is a socket on which the kernel tells of devices.
type Events struct{ file *os.File }

// Listen must come before devices are looked for, so that none is missed.
func Listen() (*Events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot hear of new devices: %w", err)
	}
	return &Events{os.NewFile(uintptr(fd), "uevents")}, nil
}

// Close ends Next, too.
func (e *Events) Close() { _ = e.file.Close() }

// Event is what matters of one: the modalias of a device that has come, if it
// has one, or that events were lost.
type Event struct {
	Modalias string
	Lost     bool
}

// Next waits for an event until ctx ends.
func (e *Events) Next(ctx context.Context) (Event, error) {
	buf := make([]byte, 16<<10)
	n, err := e.read(ctx, buf)
	for ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded) { // The end of the context before.
		n, err = e.read(ctx, buf)
	}
	switch {
	case ctx.Err() != nil:
		return Event{}, ctx.Err()
	case errors.Is(err, unix.ENOBUFS):
		return Event{Lost: true}, nil
	case err != nil:
		return Event{}, fmt.Errorf("cannot hear of new devices: %w", err)
	}
	return Event{Modalias: ParseModalias(string(buf[:n]))}, nil
}

func (e *Events) read(ctx context.Context, buf []byte) (int, error) {
	_ = e.file.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = e.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return e.file.Read(buf)
}

// Gather calls act for devices that have come, for those together that come
// within settle of the first, until ctx ends. It calls it for the first time
// after first, whether or not there were any.
func (e *Events) Gather(ctx context.Context, first, settle time.Duration, act func(context.Context)) error {
	for due := time.Now().Add(first); ; {
		limit, cancel := ctx, context.CancelFunc(func() {})
		if !due.IsZero() {
			limit, cancel = context.WithDeadline(ctx, due)
		}
		event, err := e.Next(limit)
		over := limit.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case over:
			due = time.Time{}
			act(ctx)
		case err != nil:
			return err
		case due.IsZero() && (event.Lost || event.Modalias != ""):
			due = time.Now().Add(settle)
		}
	}
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
