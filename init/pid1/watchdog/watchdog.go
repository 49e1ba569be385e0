// Package watchdog feeds the watchdog of the machine, which resets a machine on which
// PID 1, the supervisor or containerd is stuck. With T for the timeout of the hardware:
//
//   - every T/4 the supervisor is asked whether it works, and the watchdog is fed;
//   - when the supervisor has not answered well for 2T, or PID 1 does not run, feeding
//     stops, and the machine is reset at most T later. An answer before that continues;
//   - before the supervisor is started, and during a shutdown, whose steps have limits of
//     their own, only PID 1 counts: an onboot container may take as long as it likes;
//   - a power-off and a halt stop the watchdog; a reboot leaves it armed with a longer
//     timeout, which is to cover the firmware and the next boot.
//
// It needs no state of its own when PID 1 re-executes itself: an open watchdog that is
// closed without the magic character stays armed, and is opened again.
//
// Sources: the kernel's watchdog/watchdog-api.rst; systemd-system.conf(5)
// (RuntimeWatchdogSec=, RebootWatchdogSec=).
package watchdog

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/cmdline"
	"keelson/runtime/timeline"
	"keelson/runtime/watchdog"
)

const (
	// stage is the stage of the event with which the watchdog is armed.
	stage = "watchdog"
	// rebootTimeout is the timeout over a reboot.
	rebootTimeout = 10 * time.Minute
	// appearLimit is how long after PID 1 a watchdog may appear, with its module.
	appearLimit = 5 * time.Minute
	// appearPause is the pause between two looks for it.
	appearPause = time.Second
	// closeLimit is how long a driver may take to stop the hardware.
	closeLimit = time.Second
)

// Device is an open watchdog.
type Device interface {
	Feed() error
	Disarm() error
	SetTimeout(time.Duration) error
}

// System is what a Watchdog uses of PID 1.
type System struct {
	Line  cmdline.Line
	Log   *slog.Logger
	Event func(timeline.Event)
	// Resumed is set after PID 1 has re-executed itself: what is known is not reported again.
	Resumed bool
	// Supervised reports whether the supervisor is to answer.
	Supervised func() bool
}

// Watchdog feeds the watchdog of a machine.
type Watchdog struct {
	System
	ctx  context.Context // ends with Close
	stop context.CancelFunc

	mu     sync.Mutex
	device Device // guarded by mu; nil when none is open

	// Replaced in tests.
	open    func(time.Duration) (d Device, identity string, timeout time.Duration, err error)
	ask     func(limit time.Duration) error
	reasons func() []string
}

// New returns the watchdog of the machine. Run has to be called.
func New(s System) *Watchdog {
	w := &Watchdog{System: s, open: open,
		ask:     func(limit time.Duration) error { return watchdog.Ask(watchdog.Socket, limit) },
		reasons: func() []string { return watchdog.Reasons(watchdog.SysDir) }}
	w.ctx, w.stop = context.WithCancel(context.Background())
	return w
}

func open(timeout time.Duration) (Device, string, time.Duration, error) {
	d, err := watchdog.Open(watchdog.Path, timeout)
	if err != nil {
		return nil, "", 0, err // Not d: an interface with a nil device is not nil.
	}
	return d, d.Identity, d.Timeout, nil
}

// Run opens the watchdog and feeds it until Close. It returns early if the command line
// does not ask for it, if there is none, or if another process uses it.
func (w *Watchdog) Run() {
	value, given := w.Line.Last(watchdog.Parameter)
	timeout, err := watchdog.ParseTimeout(value)
	if !given || err != nil || timeout == 0 { // The boot reports a bad value.
		return
	}
	if actual := w.find(timeout); actual > 0 {
		w.feed(actual)
	}
}

// find opens the watchdog, which may appear late, and returns its timeout, or 0.
func (w *Watchdog) find(timeout time.Duration) time.Duration {
	for begin := time.Now(); time.Since(begin) < appearLimit; {
		device, identity, actual, err := w.open(timeout)
		if err == nil {
			w.mu.Lock()
			w.device = device
			w.mu.Unlock()
			w.report(identity, timeout, actual)
			return actual
		}
		if !errors.Is(err, fs.ErrNotExist) {
			w.Log.Warn("no watchdog resets this machine when it is stuck", "error", err)
			return 0
		}
		if !backoff.Wait(w.ctx, appearPause) {
			return 0
		}
	}
	return 0
}

func (w *Watchdog) report(identity string, wanted, actual time.Duration) {
	if w.Resumed {
		return
	}
	w.Event(timeline.Event{At: timeline.Now(), Stage: stage, Name: identity, Result: "armed, timeout " + actual.String()})
	if wanted != actual {
		w.Log.Info("the watchdog has another timeout than asked for", "watchdog", identity, "timeout", actual, "asked for", wanted)
	}
	for _, reason := range w.reasons() {
		w.Log.Warn("before this boot: watchdog " + reason)
	}
}

// feed feeds the device as long as the system works.
func (w *Watchdog) feed(timeout time.Duration) {
	p := patience{limit: 2 * timeout, last: time.Now()}
	pause := timeout / 4
	failed := false
	for {
		var err error
		supervised := w.Supervised()
		if supervised {
			err = w.ask(pause)
		}
		was := p.over
		feed := p.observe(time.Now(), err)
		switch {
		case w.ctx.Err() != nil:
			return
		case !feed && !was:
			w.Log.Error("the watchdog is not fed any more and resets the machine", "within", timeout, "no good answer for", p.limit, "error", err)
		case feed && was:
			w.Log.Warn("the watchdog is fed again: the supervisor has answered")
		}
		if feed {
			err := w.with(Device.Feed)
			if err != nil && !failed {
				w.Log.Error(err.Error())
			}
			failed = err != nil
		}
		if !backoff.Wait(w.ctx, pause) {
			return
		}
	}
}

// patience decides whether the watchdog is fed.
type patience struct {
	limit time.Duration // how long nothing may be right
	last  time.Time     // when all was right
	over  bool
}

// observe takes the answer of the supervisor, or nil when it needs none.
func (p *patience) observe(now time.Time, err error) (feed bool) {
	if err == nil {
		p.last = now
	}
	p.over = now.Sub(p.last) >= p.limit
	return !p.over
}

// Close ends Run. A watchdog stays armed over a reboot; else it is stopped. A driver that
// hangs is not waited for.
func (w *Watchdog) Close(reboot bool) {
	if w == nil {
		return
	}
	w.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := w.with(func(d Device) error {
			w.device = nil // Run feeds it no more.
			return end(d, reboot)
		})
		if err != nil {
			w.Log.Error(err.Error())
		}
	}()
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	}
}

// with uses the device, if one is open.
func (w *Watchdog) with(use func(Device) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.device == nil {
		return nil
	}
	return use(w.device)
}

func end(d Device, reboot bool) error {
	if !reboot {
		return d.Disarm()
	}
	_ = d.SetTimeout(rebootTimeout) // Hardware without such a long one keeps its own.
	return d.Feed()
}
