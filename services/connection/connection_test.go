package connection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/backoff"
)

// fake is a containerd without tasks.
type fake struct {
	Tasks
	answer func(ctx context.Context) error // of Ping
	killed int
	closed int
}

func (f *fake) Ping(ctx context.Context) error { return f.answer(ctx) }
func (f *fake) KillDaemon() error              { f.killed++; return nil }
func (f *fake) Close() error                   { f.closed++; return nil }

func answers(context.Context) error { return nil }

func hangs(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// connected returns a connection to f that is made.
func connected(t *testing.T, f *fake) *Connection {
	t.Helper()
	c := New(Options{
		Dial:   func(context.Context) (Tasks, error) { return f, nil },
		Logger: slog.New(slog.DiscardHandler),
	})
	if tasks, err := c.Get(t.Context()); tasks != f || err != nil || c.Current() != f {
		t.Fatalf("connected to %v, %v", tasks, err)
	}
	return c
}

// A containerd that does not listen is killed and given more time each time, until
// one listens.
func TestContainerdThatNeverListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, listens := time.Now(), 100*time.Second
		var killed []time.Duration
		dial := func(ctx context.Context) (Tasks, error) {
			if !backoff.Wait(ctx, max(0, listens-time.Since(begin))) {
				return nil, ctx.Err()
			}
			return &fake{}, nil
		}
		c := New(Options{Dial: dial, Logger: slog.New(slog.DiscardHandler), KillStarting: func() error {
			killed = append(killed, time.Since(begin))
			return nil
		}})
		tasks, err := c.Get(t.Context())
		if tasks == nil || err != nil || time.Since(begin) != listens {
			t.Errorf("after %v: %v, %v", time.Since(begin), tasks, err)
		}
		if want := []time.Duration{ListenTime, 3 * ListenTime}; !reflect.DeepEqual(killed, want) {
			t.Errorf("killed after %v, want %v", killed, want)
		}
		// A caller with less time gets its own error, and nothing is killed.
		c.Lost(tasks)
		listens += time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), ListenTime/2)
		defer cancel()
		if _, err := c.Get(ctx); !errors.Is(err, context.DeadlineExceeded) || len(killed) != 2 {
			t.Errorf("got %v, killed after %v", err, killed)
		}
	})
}

// After a call that took too long, a containerd that hangs is killed, and one that answers
// is not.
func TestFailed(t *testing.T) {
	for name, tt := range map[string]struct {
		err          error
		ping         func(context.Context) error
		failed, dead bool
	}{
		"refused":         {errors.New("no such image"), hangs, false, false},
		"slow, and alive": {context.DeadlineExceeded, answers, false, false},
		"hangs":           {fmt.Errorf("cannot create: %w", context.DeadlineExceeded), hangs, true, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{answer: tt.ping}
			c := connected(t, f)
			if got := c.Failed(t.Context(), f, tt.err); got != tt.failed {
				t.Errorf("%s: failed %v, want %v", name, got, tt.failed)
			}
			if (f.killed == 1) != tt.dead || (f.closed == 1) != tt.dead || (c.Current() == nil) != tt.dead {
				t.Errorf("%s: killed %d times, closed %d times, then %v", name, f.killed, f.closed, c.Current())
			}
		})
	}
}

// containerd is not killed because a call ended with the supervisor.
func TestCheckEndsWithTheSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: hangs}
		c := connected(t, f)
		ctx, cancel := context.WithTimeout(t.Context(), PingTime/2)
		defer cancel()
		if !c.Check(ctx, f) || f.killed != 0 {
			t.Errorf("killed %d times", f.killed)
		}
	})
}

// A containerd that hangs while it is not called is killed after a minute.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: hangs}
		c := connected(t, f)
		ctx, cancel := context.WithTimeout(t.Context(), PingInterval+PingTime+time.Second)
		defer cancel()
		c.Watch(ctx)
		if f.killed != 1 {
			t.Errorf("killed %d times", f.killed)
		}
	})
}

// After a call that ends in time, containerd is not checked.
func TestCheckIfSlow(t *testing.T) {
	for took, killed := range map[time.Duration]int{SlowTime / 2: 0, 2 * SlowTime: 1} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{answer: hangs}
			c := connected(t, f)
			call, cancel := context.WithTimeout(t.Context(), took)
			defer cancel()
			c.CheckIfSlow(t.Context(), call, f)
			if f.killed != killed {
				t.Errorf("after a call of %v: killed %d times, want %d", took, f.killed, killed)
			}
		})
	}
}

// The loss of an old connection does not close the new one of another caller.
func TestLostTwice(t *testing.T) {
	f := &fake{}
	c := connected(t, f)
	c.Lost(&fake{})
	if f.closed != 0 || c.Current() == nil {
		t.Error("a connection that was not lost is closed")
	}
	c.Lost(f)
	c.Lost(f)
	if f.closed != 1 || c.Current() != nil {
		t.Errorf("closed %d times", f.closed)
	}
}
