package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"keelson/runtime/backoff"
)

const forever = time.Duration(math.MaxInt64)

// State is the state that a service has reported. What the next supervisor needs of it is
// kept as JSON.
type State struct {
	Ready     bool   `json:",omitempty"` // also while Reloading
	Reloading bool   `json:",omitempty"` // until it reports that it is ready again
	Stopping  bool   `json:",omitempty"` // it reports that it is stopping
	Status    string `json:"-"`          // for people, one line

	Watchdog time.Duration `json:",omitempty"` // longest time between two signs of life; 0: no watchdog
	Alive    time.Time     `json:"-"`          // time of the last sign of life
	Trigger  bool          `json:",omitempty"` // it reports that it has failed
	Extended time.Time     `json:"-"`          // no timeout may expire before
}

// after returns the state after a message.
func (s State) after(m message, now time.Time) State {
	if m.reloading {
		s.Reloading = true
	}
	if m.ready {
		s.Ready, s.Reloading = true, m.reloading
	}
	if m.stopping {
		s.Stopping = true
	}
	if m.watchdog != nil {
		s.Watchdog, s.Alive = *m.watchdog, now
	}
	if m.alive {
		s.Alive = now
	}
	s.Trigger = s.Trigger || m.trigger
	if m.extend > 0 {
		s.Extended = now.Add(m.extend)
	}
	if m.status != nil {
		s.Status = *m.status
	}
	return s
}

// tracker keeps a State and reports its changes.
type tracker struct {
	mu      sync.Mutex
	state   State
	changed chan struct{} // closed at the next change
}

func newTracker(s State) *tracker { return &tracker{state: s, changed: make(chan struct{})} }

// current returns the state, and a channel that is closed when it changes.
func (t *tracker) current() (State, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state, t.changed
}

// update applies a message. It reports whether the state has changed other than by a sign
// of life.
func (t *tracker) update(m message) (State, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.state
	t.state = before.after(m, time.Now())
	close(t.changed)
	t.changed = make(chan struct{})
	before.Alive, before.Extended = t.state.Alive, t.state.Extended
	return t.state, before != t.state
}

// waitFor waits for a state that is good.
func (t *tracker) waitFor(ctx context.Context, good func(State) bool) error {
	for {
		s, changed := t.current()
		if good(s) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// watchdog returns when the watchdog of the service expires.
func (t *tracker) watchdog(ctx context.Context) error {
	for {
		s, changed := t.current()
		left := forever
		if s.Watchdog > 0 {
			left = time.Until(s.Alive.Add(s.Watchdog))
		}
		switch {
		case s.Trigger:
			return errors.New("the service reports that it has failed (WATCHDOG=trigger)")
		case left <= 0:
			return fmt.Errorf("no sign of life for %s (WATCHDOG_USEC)", s.Watchdog)
		}
		if !backoff.WaitOrWake(ctx, left, changed) {
			return ctx.Err()
		}
	}
}

// notifyCheck succeeds with READY=1. Each WATCHDOG=1 is a heartbeat.
func notifyCheck(c Container) (check, error) {
	if c.Notify == nil {
		return check{}, errors.New("the service has no NOTIFY_SOCKET")
	}
	t := c.Notify.tracker
	return check{
		wait: func(ctx context.Context) error {
			if t.waitFor(ctx, func(s State) bool { return s.Ready && !s.Reloading }) == nil {
				return nil
			}
			s, _ := t.current()
			if s.Status != "" {
				return fmt.Errorf("notify: no READY=1; status: %s", s.Status)
			}
			return errors.New("notify: no READY=1")
		},
		beats: func(ctx context.Context, beat func()) error {
			last, _ := t.current()
			for t.waitFor(ctx, func(s State) bool { return s.Alive.After(last.Alive) }) == nil {
				last, _ = t.current()
				beat()
			}
			return errors.New("notify: no WATCHDOG=1")
		},
	}, nil
}

// withLimit returns a context that ends after d, or later if the service extends that. 0
// means no limit.
func withLimit(ctx context.Context, d time.Duration, n *Notify) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	if d == 0 {
		return ctx, cancel
	}
	end := time.Now().Add(d)
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			until, changed := end, (<-chan struct{})(nil)
			if n != nil {
				var s State
				if s, changed = n.tracker.current(); s.Extended.After(end) {
					until = s.Extended
				}
			}
			left := time.Until(until)
			if left <= 0 {
				cancel()
			}
			if !backoff.WaitOrWake(ctx, left, changed) {
				return
			}
		}
	})
	return ctx, func() { cancel(); watching.Wait() }
}
