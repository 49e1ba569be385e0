// Package uevent receives the kernel's events about devices.
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

// Events is a socket that receives uevents.
type Events struct{ file *os.File }

// Listen opens the socket. Call it before listing devices, so that no device is missed.
func Listen() (*Events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen for uevents: %w", err)
	}
	return &Events{os.NewFile(uintptr(fd), "uevents")}, nil
}

// Close closes the socket and ends Next.
func (e *Events) Close() { _ = e.file.Close() }

// Event is the part of a uevent that keelson uses.
type Event struct {
	Modalias string // of an added device, if it has one
	Added    string // an added CPU or memory block, "cpu/cpu1" or "memory/memory40"
	Named    string // a disk or serial port that was added, changed or removed, MAJOR:MINOR
	Lost     bool   // other events were lost
}

// Next waits for an event until ctx ends.
func (e *Events) Next(ctx context.Context) (Event, error) {
	buf := make([]byte, 16<<10)
	n, err := e.read(ctx, buf)
	for ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded) { // The deadline of an earlier context.
		n, err = e.read(ctx, buf)
	}
	switch {
	case ctx.Err() != nil:
		return Event{}, ctx.Err()
	case errors.Is(err, unix.ENOBUFS):
		return Event{Lost: true}, nil
	case err != nil:
		return Event{}, fmt.Errorf("cannot listen for uevents: %w", err)
	}
	return Parse(string(buf[:n])), nil
}

func (e *Events) read(ctx context.Context, buf []byte) (int, error) {
	_ = e.file.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = e.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return e.file.Read(buf)
}

// gatherLimit is the number of events for one call; further ones count as lost.
const gatherLimit = 1024

// Gather calls act with events until ctx ends. Events within settle of the first one are
// passed together. The first call comes after first and contains a Lost event, whether or
// not events were lost.
func (e *Events) Gather(ctx context.Context, first, settle time.Duration, act func(context.Context, []Event)) error {
	events := []Event{{Lost: true}}
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
			act(ctx, events)
			events = nil
		case err != nil:
			return err
		case event != Event{}:
			events = keep(events, event)
			if due.IsZero() {
				due = time.Now().Add(settle)
			}
		}
	}
}

// keep appends an event, or a Lost event when the list is full.
func keep(events []Event, event Event) []Event {
	if len(events) < gatherLimit {
		return append(events, event)
	}
	events[gatherLimit-1] = Event{Lost: true}
	return events
}

// system is the prefix of paths of CPUs and memory.
const system = "/devices/system/"

// Parse parses a uevent: "ACTION@PATH" and fields KEY=VALUE, each ended by a zero byte.
// The result is empty for an event that does not matter to keelson.
func Parse(event string) Event {
	head, text, _ := strings.Cut(event, "\x00")
	action, path, ok := strings.Cut(head, "@")
	if !ok || action != "add" && action != "change" && action != "remove" {
		return Event{}
	}
	fields := map[string]string{}
	for field := range strings.SplitSeq(text, "\x00") {
		if key, value, ok := strings.Cut(field, "="); ok && fields[key] == "" {
			fields[key] = value
		}
	}
	e := Event{Named: named(fields)}
	if action != "add" {
		return e
	}
	e.Modalias = fields["MODALIAS"]
	if name, ok := strings.CutPrefix(path, system); ok && isPart(name) {
		e.Added = name
	}
	return e
}

// named returns the number of a disk or serial port that has names in /dev/disk or /dev/serial
// (package init/names), or "". Loop devices and the mapped devices of keelson's own have none.
func named(fields map[string]string) string {
	node := fields["DEVNAME"]
	switch fields["SUBSYSTEM"] {
	case "block":
		for _, kind := range []string{"loop", "ram", "zram"} {
			if strings.HasPrefix(node, kind) {
				return ""
			}
		}
		if strings.HasPrefix(fields["DM_NAME"], "keelson-") {
			return ""
		}
	case "tty":
		if !strings.HasPrefix(node, "ttyUSB") && !strings.HasPrefix(node, "ttyACM") {
			return ""
		}
	default:
		return ""
	}
	number := fields["MAJOR"] + ":" + fields["MINOR"]
	if strings.Trim(number, "0123456789:") != "" || len(number) < len("0:0") {
		return ""
	}
	return number
}

// isPart reports whether name is the name of a CPU or a memory block.
func isPart(name string) bool {
	for _, prefix := range []string{"cpu/cpu", "memory/memory"} {
		if number, ok := strings.CutPrefix(name, prefix); ok && number != "" && strings.Trim(number, "0123456789") == "" {
			return true
		}
	}
	return false
}
