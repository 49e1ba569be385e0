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

// State is what a service has said of itself.
type State struct {
	Ready     bool   // also while Reloading
	Reloading bool   // until it says that it is ready again
	Stopping  bool   // it ends of its own accord
	Status    string // for people, one line

	Watchdog time.Duration // it must show that it is alive this often; 0: never
	Alive    time.Time     // when it last did
	Trigger  bool          // it asks to be taken for dead
	Extended time.Time     // no timeout may strike before
}

// after is s after a message.
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

// teller keeps a State and tells of its changes.
type teller struct {
	mu      sync.Mutex
	state   State
	changed chan struct{} // closed at the next change
}

func newTeller() *teller { return &teller{changed: make(chan struct{})} }

// now is the state, and what is closed when it is another.
func (t *teller) now() (State, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state, t.changed
}

// take reports whether there is more to a message than a sign of life.
func (t *teller) take(m message) (State, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.state
	t.state = before.after(m, time.Now())
	close(t.changed)
	t.changed = make(chan struct{})
	before.Alive, before.Extended = t.state.Alive, t.state.Extended
	return t.state, before != t.state
}

// until waits for a state that is good.
func (t *teller) until(ctx context.Context, good func(State) bool) error {
	for {
		s, changed := t.now()
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

// watchdog returns when the watchdog of the service itself strikes.
func (t *teller) watchdog(ctx context.Context) error {
	for {
		s, changed := t.now()
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

// notifyCheck waits for READY=1; its beat is WATCHDOG=1.
func notifyCheck(c Container) (check, error) {
	if c.Notify == nil {
		return check{}, errors.New("the service has no socket to notify")
	}
	t := c.Notify.teller
	return check{
		wait: func(ctx context.Context) error {
			if t.until(ctx, func(s State) bool { return s.Ready && !s.Reloading }) == nil {
				return nil
			}
			s, _ := t.now()
			if s.Status != "" {
				return fmt.Errorf("notify: no READY=1; status: %s", s.Status)
			}
			return errors.New("notify: no READY=1")
		},
		beats: func(ctx context.Context, beat func()) error {
			last, _ := t.now()
			for t.until(ctx, func(s State) bool { return s.Alive.After(last.Alive) }) == nil {
				last, _ = t.now()
				beat()
			}
			return errors.New("notify: no WATCHDOG=1")
		},
	}, nil
}

// withLimit ends after d, unless that is 0 or the service puts it off.
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
				if s, changed = n.teller.now(); s.Extended.After(end) {
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
