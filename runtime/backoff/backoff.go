// Package backoff computes the delays between the attempts of an operation that
// fails, and waits for them. It does not retry anything and keeps no state: the
// caller counts the failures, which also survive a restart of its program.
//
// github.com/cenkalti/backoff/v5 is not used: it keeps the delay in a value that
// only its own loop advances, and cannot compute it from a number of failures.
package backoff

import (
	"context"
	"time"
)

// Delay returns how long to wait after a number of failures in a row: first after
// one, twice as long after each further one, at most longest. It is never
// negative.
func Delay(failures int, first, longest time.Duration) time.Duration {
	d := first
	for ; failures > 1 && d > 0 && d < longest; failures-- {
		if d > longest/2 {
			d = longest
		} else {
			d *= 2
		}
	}
	return max(0, min(d, longest))
}

// Jitter returns d less up to half of it, so that what failed together does not
// start together. random is from 0 to 1.
func Jitter(d time.Duration, random float64) time.Duration {
	return d - time.Duration(random*float64(d)/2)
}

// Wait waits for d and reports true, or reports false when ctx has ended.
func Wait(ctx context.Context, d time.Duration) bool {
	return WaitOrWake(ctx, d, nil)
}

// WaitOrWake is Wait that also ends when something is received from wake, or
// wake is closed.
func WaitOrWake(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
