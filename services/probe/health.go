package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
)

// Watch returns the reason when the container is no longer healthy: after retries failed
// attempts in a row. An attempt takes at most timeout, and the next one begins interval
// later. For log and notify, an attempt fails when no line matches, or no WATCHDOG=1
// arrives, within interval. If the service sets a watchdog (WATCHDOG_USEC), Watch also
// returns as soon as that expires, with any probe; it replaces a probe by notify.
func (p *Prober) Watch(ctx context.Context, probe bundle.Probe, c Container, interval, timeout time.Duration, retries int) error {
	check, err := p.prepare(probe, c)
	if err != nil {
		return err
	}
	defer check.close()
	watching, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	if c.Notify != nil {
		all.Go(func() { cancel(c.Notify.tracker.watchdog(watching)) })
	}
	w := &watcher{check: check, interval: interval, timeout: timeout, retries: retries}
	if probe.Kind == "notify" {
		w.replaced = func() bool { return c.Notify.State().Watchdog > 0 }
	}
	if probe.Kind != "" {
		all.Go(func() { cancel(w.watch(watching)) })
	}
	<-watching.Done()
	all.Wait()
	return context.Cause(watching)
}

// watcher counts failed attempts.
type watcher struct {
	check             check
	interval, timeout time.Duration
	retries           int
	replaced          func() bool // the service's watchdog replaces the probe; nil: never
	failed            int         // in a row
}

func (w *watcher) watch(ctx context.Context) error {
	if w.check.beats != nil {
		return w.listen(ctx)
	}
	for backoff.Wait(ctx, w.interval) {
		err := withTimeout(ctx, w.timeout, w.check.once)
		if ctx.Err() == nil && w.count(err) {
			return w.verdict(err)
		}
	}
	return ctx.Err()
}

// listen counts the intervals without a heartbeat.
func (w *watcher) listen(ctx context.Context) error {
	beat, ended := make(chan struct{}, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		ended <- w.check.beats(ctx, func() {
			select {
			case beat <- struct{}{}:
			default:
			}
		})
	}()
	timer := time.NewTimer(w.interval)
	defer timer.Stop()
	for {
		select {
		case err := <-ended: // Always, when ctx has ended.
			return cmp.Or(ctx.Err(), err)
		case <-beat:
			w.failed = 0
		case <-timer.C:
			if w.count(errSilent) {
				cancel()
				return w.verdict(<-ended)
			}
		}
		timer.Reset(w.interval)
	}
}

// errSilent is an interval without a heartbeat.
var errSilent = errors.New("no sign of life")

// count counts the result of an attempt, and reports whether that is one failure too many.
func (w *watcher) count(err error) bool {
	if err == nil || w.replaced != nil && w.replaced() {
		w.failed = 0
		return false
	}
	w.failed++
	return w.failed >= w.retries
}

func (w *watcher) verdict(err error) error {
	return fmt.Errorf("%s failed: %w", checks(w.failed), err)
}

func checks(n int) string {
	if n == 1 {
		return "a health check"
	}
	return fmt.Sprintf("%d health checks in a row", n)
}
