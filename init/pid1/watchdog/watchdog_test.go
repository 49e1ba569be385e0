package watchdog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/cmdline"
	"keelson/runtime/timeline"
)

func TestPatience(t *testing.T) {
	bad := errors.New("bad")
	begin := time.Now()
	p := patience{limit: 10 * time.Second, last: begin}
	for _, tt := range []struct {
		at   time.Duration
		err  error
		feed bool
	}{
		{5, bad, true}, {9, bad, true}, {10, bad, false}, {100, bad, false}, // stuck
		{101, nil, true}, {110, bad, true}, {111, bad, false}, // works again, for a moment
		{200, nil, true}, // a pause without questions, such as a suspend
	} {
		if got := p.observe(begin.Add(tt.at*time.Second), tt.err); got != tt.feed || p.over == tt.feed {
			t.Errorf("at %d: %v", tt.at, got)
		}
	}
}

// fake is a watchdog, a supervisor and a machine in synctest's time.
type fake struct {
	mu      sync.Mutex
	begin   time.Time
	events  []string
	missing int // how often the device is not there yet
	openErr error
	actual  time.Duration
	answer  error
	feedErr error
	hangs   bool // Disarm does not return
	fed     time.Time
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, fmt.Sprintf("%v ", time.Since(f.begin))+fmt.Sprintf(format, args...))
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) Feed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fed = time.Now()
	return f.feedErr
}

func (f *fake) lastFed() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fed.Sub(f.begin)
}

func (f *fake) Disarm() error {
	f.note("disarm")
	if f.hangs {
		time.Sleep(time.Hour)
	}
	return nil
}

func (f *fake) SetTimeout(d time.Duration) error {
	f.note("timeout %v", d)
	return unix.EINVAL
}

// Write takes the log.
func (f *fake) Write(line []byte) (int, error) {
	f.note("%s", strings.TrimSpace(string(line)))
	return len(line), nil
}

func (f *fake) watch(line string, resumed bool) *Watchdog {
	f.begin = time.Now()
	log := slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	w := New(System{Line: cmdline.Parse(line), Log: log, Resumed: resumed, Supervised: func() bool { return true },
		Event: func(e timeline.Event) { f.note("%s %s %s", e.Stage, e.Name, e.Result) }})
	w.ask = func(time.Duration) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.answer
	}
	w.reasons = func() []string { return []string{"fake: has reset the machine"} }
	w.open = func(d time.Duration) (Device, string, time.Duration, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.missing--; f.missing >= 0 {
			return nil, "", 0, fs.ErrNotExist
		}
		if f.openErr != nil {
			return nil, "", 0, f.openErr
		}
		if f.actual != 0 {
			d = f.actual
		}
		return f, "fake", d, nil
	}
	return w
}

// logged checks what was logged and done.
func (f *fake) logged(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !reflect.DeepEqual(f.events, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(f.events, "\n"), strings.Join(want, "\n"))
	}
}

const wasReset = `level=WARN msg="before this boot: watchdog fake: has reset the machine"`

// A supervisor that does not answer well stops the feeding after twice the timeout; it
// continues if it answers again. A power-off disarms, and nothing is fed afterwards.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		w := f.watch("keelson.watchdog=40s", false)
		go w.Run()
		time.Sleep(95 * time.Second) // Fed and asked at 90.
		f.set(func() { f.answer = errors.New("stuck") })
		time.Sleep(90 * time.Second)
		if fed := f.lastFed(); fed != 160*time.Second {
			t.Errorf("last fed at %v", fed)
		}
		f.set(func() { f.answer = nil })
		time.Sleep(10 * time.Second)
		w.Close(false)
		time.Sleep(time.Minute)
		if fed := f.lastFed(); fed != 190*time.Second {
			t.Errorf("last fed at %v", fed)
		}
		f.logged(t, "0s watchdog fake armed, timeout 40s", "0s "+wasReset,
			`2m50s level=ERROR msg="the watchdog is not fed any more and resets the machine" within=40s "no good answer for"=1m20s error=stuck`,
			`3m10s level=WARN msg="the watchdog is fed again: the supervisor has answered"`, "3m15s disarm")
	})
}

// A watchdog may appear late, and have another timeout than asked for. It stays armed over
// a reboot, also when the hardware refuses the longer timeout.
func TestLateAndReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{missing: 30, actual: 16 * time.Second, feedErr: errors.New("cannot feed")}
		w := f.watch("keelson.watchdog=1m", false)
		go w.Run()
		time.Sleep(45 * time.Second)
		w.Close(true)
		time.Sleep(time.Minute)
		if fed := f.lastFed(); fed != 45*time.Second {
			t.Errorf("last fed at %v", fed)
		}
		f.logged(t, "30s watchdog fake armed, timeout 16s",
			`30s level=INFO msg="the watchdog has another timeout than asked for" watchdog=fake timeout=16s "asked for"=1m0s`,
			"30s "+wasReset, `30s level=ERROR msg="cannot feed"`, "45s timeout 10m0s", `45s level=ERROR msg="cannot feed"`)
	})
}

// Without a watchdog, or with one that is not for PID 1, nothing is left running.
func TestNone(t *testing.T) {
	for _, tt := range []struct {
		f    *fake
		line string
		want []string
	}{
		{&fake{}, "keelson.watchdog=off", nil},
		{&fake{}, "quiet", nil},
		{&fake{}, "keelson.watchdog=x", nil},
		{&fake{missing: 1000}, "keelson.watchdog=1m", nil},
		{&fake{openErr: unix.EBUSY}, "keelson.watchdog=1m", []string{`0s level=WARN msg="no watchdog resets this machine when it is stuck" error="device or resource busy"`}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := tt.f.watch(tt.line, false)
			w.Run()
			w.Close(false)
			tt.f.logged(t, tt.want...)
			(*Watchdog)(nil).Close(true) // In userspace mode.
		})
	}
}

// A driver that hangs delays the shutdown for a second. After PID 1 has re-executed
// itself, nothing is reported again.
func TestHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{hangs: true}
		w := f.watch("keelson.watchdog=1m", true)
		go w.Run()
		time.Sleep(time.Second)
		w.Close(false)
		if took := time.Since(f.begin); took != 2*time.Second {
			t.Errorf("closed after %v", took)
		}
		f.logged(t, "1s disarm")
		time.Sleep(2 * time.Hour)
	})
}
