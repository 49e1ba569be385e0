package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
)

// Times of attempts.
const (
	firstPause  = 10 * time.Millisecond
	lastPause   = 500 * time.Millisecond
	attemptTime = 10 * time.Second // for one that has no limit of its own
)

// Container is what probes use of a service's container. Only PID is always
// needed.
type Container struct {
	PID    int     // first process, which must be alive
	Exec   Exec    // for exec
	Lines  Lines   // for log
	Notify *Notify // for notify; its watchdog is heeded whatever the probe
}

// Exec runs a command inside of a container, and says what it printed.
type Exec func(ctx context.Context, args []string) (code int, output string, err error)

// Lines calls see for each line that a container has printed, and will print,
// until see has seen enough or ctx ends.
type Lines func(ctx context.Context, see func(line []byte) (enough bool)) error

// Prober runs probes. The zero value is ready; all services may share one.
type Prober struct{ watches watches }

// Close frees what it holds. No call may be under way.
func (p *Prober) Close() { p.watches.close() }

// Once makes one attempt: is the container well now? Log and notify have no
// now: it waits for a line that matches, or for READY=1, until ctx ends.
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

// Wait returns when the container is ready. After timeout, unless that is 0,
// it says what was tried last and what came of it. EXTEND_TIMEOUT_USEC puts
// that off.
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

// check is a probe made ready to be run.
type check struct {
	once  func(context.Context) error // one attempt; nil for log and notify
	wait  func(context.Context) error // until good; when ctx ends, what was wrong
	beats beats                       // nil for those that have once
	close func()                      // frees what it keeps between attempts
}

// beats calls beat at each sign of life until ctx ends. Before, it returns
// only with an error.
type beats func(ctx context.Context, beat func()) error

// prepare makes a probe ready to be run.
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
		err = errors.New("no such kind")
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

// retry attempts until that goes well; when ctx ends, it returns what was
// wrong with the last attempt.
func retry(ctx context.Context, attempt func(context.Context) error) error {
	var last error
	for failures := 1; ; failures++ {
		last = again(ctx, last, attempt)
		if last == nil || !backoff.Wait(ctx, backoff.Delay(failures, firstPause, lastPause)) {
			return last
		}
	}
}

// again makes another attempt. One that ctx cut short tells less than the one
// before, whose error is last.
func again(ctx context.Context, last error, attempt func(context.Context) error) error {
	start := time.Now()
	err := limit(ctx, attemptTime, attempt)
	if err != nil && last != nil && ctx.Err() != nil && time.Since(start) < lastPause {
		return last
	}
	return err
}

// errNoAnswer is an attempt that took too long.
var errNoAnswer = errors.New("no answer in time")

// limit runs an attempt for at most d.
func limit(ctx context.Context, d time.Duration, attempt func(context.Context) error) error {
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
