package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// Containerd that does not come to listen is killed, and given more time each
// time; one that does come is the end of that.
func TestContainerdThatNeverListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, listens := time.Now(), 100*time.Second
		var killed []time.Duration
		dial := func(ctx context.Context) (Tasks, error) {
			if !pause(ctx, max(0, listens-time.Since(begin))) {
				return nil, ctx.Err()
			}
			return newFake(), nil
		}
		l := newLink(Options{Dial: dial, Logger: slog.New(slog.DiscardHandler), KillStarting: func() error {
			killed = append(killed, time.Since(begin))
			return nil
		}})
		tasks, err := l.get(t.Context())
		if tasks == nil || err != nil || time.Since(begin) != listens {
			t.Errorf("after %v: %v, %v", time.Since(begin), tasks, err)
		}
		if want := []time.Duration{startTime, 3 * startTime}; !reflect.DeepEqual(killed, want) {
			t.Errorf("killed after %v, want %v", killed, want)
		}
		// Who waits for less is told so, and nobody is killed for that.
		l.lost(tasks)
		listens += time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), startTime/2)
		defer cancel()
		if _, err := l.get(ctx); !errors.Is(err, context.DeadlineExceeded) || len(killed) != 2 {
			t.Errorf("got %v, killed after %v", err, killed)
		}
	})
}
