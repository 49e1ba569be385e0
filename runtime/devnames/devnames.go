// Package devnames starts "/init names", which makes the links in /dev/disk and /dev/serial (package
// keelson/init/names), for devices that have changed: one process at a time, and no change is lost.
//
// A process that waits for a device that does not answer counts as one in the background, after which the
// next one is started. Such a process reads each device once at a time, so that there are not more of
// them than devices that do not answer.
package devnames

import (
	"context"
	"os/exec"
	"slices"
	"sync"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/uevent"
)

const (
	// grace is how long the next process waits for one that has not ended: the links wait a second
	// for devices that do not answer.
	grace = 3 * time.Second
	// Pauses before another attempt after a failure.
	firstPause   = time.Second
	longestPause = time.Minute
)

// Renewer renews links. Make one with New.
type Renewer struct {
	run    func(ctx context.Context, changed []string) error
	report func(error)

	mu      sync.Mutex
	pending []string // what no process has got yet
	working bool
}

// New returns a Renewer that has run renew the links of devices. run gets the numbers of devices,
// MAJOR:MINOR, or [uevent.All]; report is called for the first of several failures in a row.
func New(run func(ctx context.Context, changed []string) error, report func(error)) *Renewer {
	return &Renewer{run: run, report: report}
}

// Run runs "/init names" until it has made the links. It is killed when ctx ends.
func Run(ctx context.Context, changed []string) error {
	return exec.CommandContext(ctx, "/init", append([]string{"names"}, changed...)...).Run()
}

// Renew has the links of devices renewed, and does not wait for that. What has not begun when ctx ends
// is not done.
func (r *Renewer) Renew(ctx context.Context, changed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = uevent.Merge(r.pending, changed)
	if !r.working && len(r.pending) > 0 {
		r.working = true
		go r.work(ctx)
	}
}

// work runs processes until no changes are left.
func (r *Renewer) work(ctx context.Context) {
	failures := 0
	for changed := r.take(ctx); len(changed) > 0; changed = r.take(ctx) {
		ended := make(chan error, 1)
		go func() { ended <- r.run(ctx, changed) }()
		timer := time.NewTimer(grace)
		select {
		case err := <-ended:
			timer.Stop()
			if err == nil {
				failures = 0
				continue
			}
			if failures == 0 && ctx.Err() == nil {
				r.report(err)
			}
			failures++
			r.giveBack(changed)
			backoff.Wait(ctx, backoff.Delay(failures, firstPause, longestPause))
		case <-timer.C:
			go func() {
				if err := <-ended; err != nil && ctx.Err() == nil {
					r.report(err)
					r.Renew(ctx, changed)
				}
			}()
		}
	}
}

// take returns what has changed since the last process was started. Without that, the caller ends.
func (r *Renewer) take(ctx context.Context) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		r.pending = nil
	}
	changed := r.pending
	r.pending, r.working = nil, len(changed) > 0
	return changed
}

func (r *Renewer) giveBack(changed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = uevent.Merge(slices.Clone(changed), r.pending)
}
