package pid1

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/pid1/keeper"
	"keelson/init/reaper"
	"keelson/init/step"
	"keelson/runtime/console"
)

var quiet = slog.New(slog.DiscardHandler)

func TestSignals(t *testing.T) {
	s := newSignals()
	logged := make(chan string, 8)
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGUSR2, unix.SIGINT, unix.SIGINT, unix.SIGUSR1} {
		s.incoming <- sig
	}
	go s.watch(func(m string) { logged <- m })
	<-s.requested
	if s.chosen() != powerOff {
		t.Errorf("action %v", s.chosen())
	}
	for _, later := range []string{"reboot", "halt"} { // Each is logged once.
		if m := <-logged; !strings.Contains(m, later) || !strings.Contains(m, "power off") {
			t.Errorf("logged %q", m)
		}
	}
	want := map[os.Signal]action{unix.SIGUSR1: halt, unix.SIGUSR2: powerOff, unix.SIGTERM: reboot, unix.SIGINT: reboot}
	if !reflect.DeepEqual(actions, want) {
		t.Errorf("actions by signal: %v, want %v", actions, want)
	}
}

func TestStopDeadline(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := readStopDeadline(fifo); got != stopDefault {
		t.Errorf("a fifo: %v", got)
	}
	path := filepath.Join(t.TempDir(), "stop-deadline")
	if got := readStopDeadline(path); got != stopDefault {
		t.Errorf("no file: %v", got)
	}
	for text, want := range map[string]time.Duration{"35s\n": 35 * time.Second, "3h": stopMax, "-1s": stopDefault, "soon": stopDefault, "": stopDefault} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readStopDeadline(path); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestCheckWritable(t *testing.T) {
	dir := t.TempDir()
	if err := checkWritable(dir); err != nil {
		t.Error(err)
	}
	missing := filepath.Join(dir, "run")
	if err := checkWritable(dir, missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v", err)
	}
}

// A step of the boot that hangs in the kernel does not prevent the shutdown, and cannot
// start anything afterwards.
func TestShutdownWhileBootHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pid1{log: quiet, console: console.New(console.Options{Devices: []string{t.TempDir() + "/none"}}),
			signals: newSignals(), reaper: reaper.New(quiet)}
		defer func() { _ = p.console.Close(t.Context()) }()
		hangs := make(chan struct{})
		go p.signals.request(halt)
		began := time.Now()
		p.stayUp([]step.Step{{Stage: "x", Quiet: true, Do: func(context.Context) (string, error) {
			<-hangs
			p.keepers.Add(keeper.New("late", quiet, func() (keeper.Process, error) { panic("started") }))
			return "", nil
		}}})
		if took := time.Since(began); p.signals.chosen() != halt || took > time.Minute {
			t.Errorf("%v after %v", p.signals.chosen(), took)
		}
		p.keepers.Close()
		close(hangs)
		synctest.Wait()
		if p.keepers.Get("late") != nil || p.keepers.Get("late").Stop(syscall.SIGTERM, time.Second) != "did not run" {
			t.Error("a program was started during the shutdown")
		}
	})
}
