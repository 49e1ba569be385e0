package uevent

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseModalias(t *testing.T) {
	for event, want := range map[string]string{
		"add@/devices/x\x00ACTION=add\x00MODALIAS=pci:v1\x00SEQNUM=1\x00": "pci:v1",
		"remove@/devices/x\x00MODALIAS=pci:v1\x00":                        "",
		"add@/devices/x\x00ACTION=add\x00":                                "",
		"libudev\x00MODALIAS=x":                                           "", "": "",
	} {
		if got := ParseModalias(event); got != want {
			t.Errorf("%q: got %q, want %q", event, got, want)
		}
	}
}

func FuzzParseModalias(f *testing.F) {
	f.Add("add@/x\x00MODALIAS=a")
	f.Fuzz(func(t *testing.T, event string) {
		if alias := ParseModalias(event); strings.Contains(alias, "\x00") {
			t.Errorf("alias %q", alias)
		}
	})
}

// heard is what Events are read from, and the end that tells.
func heard(t *testing.T) (*Events, func(string)) {
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
	e, tell := heard(t)
	tell("add@/devices/x\x00MODALIAS=usb:v1\x00")
	if event, err := e.Next(t.Context()); err != nil || event != (Event{Modalias: "usb:v1"}) {
		t.Errorf("%+v, %v", event, err)
	}
	for range 20 { // The end of one context is not that of the next.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := e.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
	}
	tell("remove@/devices/x\x00MODALIAS=usb:v1\x00")
	if event, err := e.Next(t.Context()); err != nil || event != (Event{}) {
		t.Errorf("%+v, %v", event, err)
	}
}

// What comes together is one thing to do; what is no device's coming is none.
func TestGather(t *testing.T) {
	e, tell := heard(t)
	ctx, cancel := context.WithCancel(t.Context())
	acts, ended := make(chan time.Time, 16), make(chan error)
	const settle = 300 * time.Millisecond
	go func() {
		ended <- e.Gather(ctx, time.Millisecond, settle, func(context.Context) { acts <- time.Now() })
	}()
	<-acts // The first.
	tell("change@/devices/x\x00")
	began := time.Now()
	for range 3 {
		tell("add@/devices/x\x00MODALIAS=usb:v1\x00")
	}
	if at := <-acts; at.Sub(began) < settle {
		t.Errorf("after %v already", at.Sub(began))
	}
	tell("add@/devices/y\x00MODALIAS=usb:v2\x00")
	<-acts
	cancel()
	if err := <-ended; err != nil || len(acts) != 0 {
		t.Errorf("%v, and %d times more", err, len(acts))
	}
}

// The kernel tells those who listen.
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
		t.Errorf("of a closed socket: %v", err)
	}
}
