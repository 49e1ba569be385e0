package uevent

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	for event, want := range map[string]Event{
		"add@/devices/x\x00ACTION=add\x00MODALIAS=pci:v1\x00SEQNUM=1\x00":             {Modalias: "pci:v1"},
		"remove@/devices/x\x00MODALIAS=pci:v1\x00":                                    {},
		"add@/devices/x\x00ACTION=add\x00":                                            {},
		"add@/devices/system/cpu/cpu12\x00SUBSYSTEM=cpu\x00MODALIAS=cpu:type:x86\x00": {Modalias: "cpu:type:x86", Added: "cpu/cpu12"},
		"add@/devices/system/memory/memory40\x00SUBSYSTEM=memory\x00":                 {Added: "memory/memory40"},
		"online@/devices/system/cpu/cpu1\x00":                                         {},
		"add@/devices/system/cpu/cpu1/cache\x00":                                      {},
		"add@/devices/system/cpu/cpu../x\x00":                                         {}, "add@/devices/system/cpu/cpu\x00": {},
		"add@/devices/x/block/vda\x00SUBSYSTEM=block\x00DEVNAME=vda\x00MAJOR=254\x00MINOR=0\x00":  {Named: "254:0"},
		"remove@/devices/x\x00SUBSYSTEM=block\x00DEVNAME=sda1\x00MAJOR=8\x00MINOR=1\x00":          {Named: "8:1"},
		"change@/devices/x\x00SUBSYSTEM=tty\x00DEVNAME=ttyUSB0\x00MAJOR=188\x00MINOR=0\x00":       {Named: "188:0"},
		"change@/devices/x\x00SUBSYSTEM=block\x00DEVNAME=loop1\x00MAJOR=7\x00MINOR=1\x00":         {},
		"change@/x\x00SUBSYSTEM=block\x00DEVNAME=dm-0\x00DM_NAME=keelson-x\x00MAJOR=7\x00MINOR=1": {},
		"add@/devices/x\x00SUBSYSTEM=tty\x00DEVNAME=tty1\x00MAJOR=4\x00MINOR=1\x00":               {},
		"add@/x\x00SUBSYSTEM=block\x00DEVNAME=sda\x00MAJOR=x\x00MINOR=1":                          {}, "bind@/x\x00SUBSYSTEM=block\x00MAJOR=8\x00MINOR=1": {},
		"add@/x\x00SUBSYSTEM=block\x00DEVNAME=sda": {},
		"add@/devices/system/node/node1\x00":       {}, "libudev\x00MODALIAS=x": {}, "": {},
	} {
		if got := Parse(event); got != want {
			t.Errorf("%q: got %+v, want %+v", event, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("add@/x\x00MODALIAS=a")
	f.Add("add@/devices/system/cpu/cpu1\x00")
	f.Add("remove@/x\x00SUBSYSTEM=block\x00DEVNAME=sda\x00MAJOR=8\x00MINOR=0\x00")
	f.Fuzz(func(t *testing.T, event string) {
		if e := Parse(event); strings.Contains(e.Modalias+e.Added+e.Named, "\x00") || strings.Contains(e.Added, "..") || e.Lost {
			t.Errorf("%+v", e)
		}
	})
}

func TestKeep(t *testing.T) {
	var events []Event
	for range gatherLimit + 2 {
		events = keep(events, Event{Modalias: "x"})
	}
	if len(events) != gatherLimit || !events[gatherLimit-1].Lost || events[gatherLimit-2].Lost {
		t.Errorf("%d events, the last %+v", len(events), events[len(events)-1])
	}
}

// connected returns Events and a function that sends an event to them.
func connected(t *testing.T) (*Events, func(string)) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	kernel, e := os.NewFile(uintptr(fds[0]), "kernel"), &Events{os.NewFile(uintptr(fds[1]), "uevents")}
	t.Cleanup(func() { _ = kernel.Close(); e.Close() })
	return e, func(event string) {
		if _, err := kernel.WriteString(event); err != nil {
			t.Error(err)
		}
	}
}

func TestNext(t *testing.T) {
	e, send := connected(t)
	send("add@/devices/x\x00MODALIAS=usb:v1\x00")
	if event, err := e.Next(t.Context()); err != nil || event != (Event{Modalias: "usb:v1"}) {
		t.Errorf("%+v, %v", event, err)
	}
	for range 20 { // A context that has ended does not affect the next call.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := e.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
	}
	send("remove@/devices/x\x00MODALIAS=usb:v1\x00")
	if event, err := e.Next(t.Context()); err != nil || event != (Event{}) {
		t.Errorf("%+v, %v", event, err)
	}
}

// Events that arrive together are passed in one call; events other than additions are not
// passed.
func TestGather(t *testing.T) {
	e, send := connected(t)
	ctx, cancel := context.WithCancel(t.Context())
	acts, ended := make(chan time.Time, 16), make(chan error)
	given := make(chan []Event, 16)
	const settle = 300 * time.Millisecond
	go func() {
		ended <- e.Gather(ctx, time.Millisecond, settle, func(_ context.Context, events []Event) { given <- events; acts <- time.Now() })
	}()
	<-acts // The first call.
	if events := <-given; !slices.Equal(events, []Event{{Lost: true}}) {
		t.Errorf("first call: %+v", events)
	}
	send("change@/devices/x\x00")
	began := time.Now()
	for range 3 {
		send("add@/devices/x\x00MODALIAS=usb:v1\x00")
	}
	if at := <-acts; at.Sub(began) < settle {
		t.Errorf("called after %v, want at least %v", at.Sub(began), settle)
	}
	if events := <-given; len(events) != 3 || events[2].Modalias != "usb:v1" {
		t.Errorf("second call: %+v", events)
	}
	send("add@/devices/system/memory/memory7\x00SUBSYSTEM=memory\x00")
	<-acts
	if events := <-given; !slices.Equal(events, []Event{{Added: "memory/memory7"}}) {
		t.Errorf("third call: %+v", events)
	}
	cancel()
	if err := <-ended; err != nil || len(acts) != 0 {
		t.Errorf("%v, and %d further calls", err, len(acts))
	}
}

// Listen opens a socket of the kernel, and Close ends Next.
func TestListen(t *testing.T) {
	e, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := e.Next(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	e.Close()
	if _, err := e.Next(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed socket: %v", err)
	}
}
