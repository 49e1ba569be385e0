package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
)

// Delays between attempts, and the longest time of one.
const (
	firstPause  = 10 * time.Millisecond
	lastPause   = 500 * time.Millisecond
	attemptTime = 10 * time.Second // of an attempt that has no other limit
)

// Container is the container of a service, as far as probes use it. Only PID is always
// required.
type Container struct {
	PID    int     // first process, which must exist
	Exec   Exec    // for exec
	Lines  Lines   // for log
	Notify *Notify // for notify; its watchdog is observed with every probe
}

// Exec runs a command in a container, and returns what it printed.
type Exec func(ctx context.Context, args []string) (code int, output string, err error)

// Lines calls see for each line that a container has printed and prints, until see
// returns true or ctx ends.
type Lines func(ctx context.Context, see func(line []byte) (enough bool)) error

// Prober runs probes. The zero value is ready; all services may share one.
type Prober struct{ watches watches }

// Close frees its resources. No other call may run.
func (p *Prober) Close() { p.watches.close() }

// Once makes one attempt. For log and notify it waits for a matching line, or for
// READY=1, until ctx ends.
func (p *Prober) Once(ctx context.Context, probe bundle.Probe, c Container) error {
	check, err := p.prepare(probe, c)
	if err != nil {
		return err
	}
	defer check.close()
	attempt := check.once
	if attempt == nil {
		attempt = check.wait
	}
	if err := attempt(ctx); err == nil || !errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	return context.Cause(ctx)
}

// Wait returns when the container is ready. After timeout, unless that is 0, it returns
// the error of the last attempt. EXTEND_TIMEOUT_USEC extends the timeout.
func (p *Prober) Wait(ctx context.Context, probe bundle.Probe, c Container, timeout time.Duration) error {
	check, err := p.prepare(probe, c)
	if err != nil {
		return err
	}
	defer check.close()
	start := time.Now()
	limited, cancel := withLimit(ctx, timeout, c.Notify)
	defer cancel()
	err = check.wait(limited)
	if ctx.Err() != nil {
		return fmt.Errorf("not ready: %w", context.Cause(ctx))
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("not ready after %s: %w", round(time.Since(start)), err)
}

// check is a probe that is prepared to run.
type check struct {
	once  func(context.Context) error // one attempt; nil for log and notify
	wait  func(context.Context) error // until it succeeds; when ctx ends, the last error
	beats heartbeats                  // nil for checks that have once
	close func()                      // frees what is kept between attempts
}

// heartbeats calls beat at each sign of life until ctx ends. It returns earlier only with
// an error.
type heartbeats func(ctx context.Context, beat func()) error

// prepare prepares a probe to run.
func (p *Prober) prepare(probe bundle.Probe, c Container) (check, error) {
	var ch check
	var err error
	switch probe.Kind {
	case "":
		good := func(context.Context) error { return nil }
		ch = check{once: good, wait: good}
	case "tcp":
		ch = tcpCheck(probe, c)
	case "http":
		ch = httpCheck(probe, c)
	case "exec":
		ch.once, err = execCheck(probe, c)
	case "unix":
		u := unixCheck{path: probe.Path, pid: c.PID, watches: &p.watches}
		ch = check{once: u.once, wait: u.wait}
	case "log":
		ch, err = logCheck(probe, c)
	case "notify":
		ch, err = notifyCheck(c)
	default:
		err = errors.New("unknown kind")
	}
	if err != nil {
		return check{}, fmt.Errorf("cannot probe by %s: %w", probe, err)
	}
	if ch.close == nil {
		ch.close = func() {}
	}
	if ch.wait == nil {
		ch.wait = func(ctx context.Context) error { return retry(ctx, ch.once) }
	}
	return ch, nil
}

// retry repeats attempt until it succeeds. When ctx ends, it returns the error of the
// last attempt.
func retry(ctx context.Context, attempt func(context.Context) error) error {
	var last error
	for failures := 1; ; failures++ {
		last = retryOnce(ctx, last, attempt)
		if last == nil || !backoff.Wait(ctx, backoff.Delay(failures, firstPause, lastPause)) {
			return last
		}
	}
}

// retryOnce makes another attempt. If the end of ctx cut it short, it returns last, the
// error of the attempt before, which says more.
func retryOnce(ctx context.Context, last error, attempt func(context.Context) error) error {
	start := time.Now()
	err := withTimeout(ctx, attemptTime, attempt)
	if err != nil && last != nil && ctx.Err() != nil && time.Since(start) < lastPause {
		return last
	}
	return err
}

// errNoAnswer is returned when an attempt takes too long.
var errNoAnswer = errors.New("no answer in time")

// withTimeout runs an attempt for at most d.
func withTimeout(ctx context.Context, d time.Duration, attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return attempt(ctx)
}

func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
