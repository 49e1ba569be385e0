package backoff

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		failures             int
		first, longest, want time.Duration
	}{
		{0, time.Second, time.Minute, time.Second},
		{1, time.Second, time.Minute, time.Second},
		{2, time.Second, time.Minute, 2 * time.Second},
		{6, time.Second, time.Minute, 32 * time.Second},
		{7, time.Second, time.Minute, time.Minute},
		{math.MaxInt, time.Second, time.Minute, time.Minute},
		{math.MaxInt, 0, time.Minute, 0},
		{math.MaxInt, -time.Second, time.Minute, 0},
		{1, time.Minute, time.Second, time.Second},
		{3, time.Second, 0, 0},
		{3, time.Second, -time.Second, 0},
		{math.MaxInt, 3, math.MaxInt64, math.MaxInt64}, // no overflow
	} {
		if got := Delay(tt.failures, tt.first, tt.longest); got != tt.want {
			t.Errorf("%d failures, from %s to %s: %s, want %s", tt.failures, tt.first, tt.longest, got, tt.want)
		}
	}
}

func TestJitter(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: time.Second, 0.5: 750 * time.Millisecond, 1: 500 * time.Millisecond} {
		if got := Jitter(time.Second, random); got != want {
			t.Errorf("random %v: %s, want %s", random, got, want)
		}
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if !Wait(t.Context(), time.Second) || time.Since(start) != time.Second {
			t.Errorf("returned false, or after %s", time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if start = time.Now(); Wait(ctx, time.Hour) || time.Since(start) != time.Second {
			t.Errorf("with a context that ends: true, or after %s", time.Since(start))
		}
		if Wait(ctx, 0) {
			t.Error("true although the context has ended")
		}
	})
}

func TestWaitOrWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{}, 1)
		time.AfterFunc(time.Second, func() { wake <- struct{}{} })
		if start := time.Now(); !WaitOrWake(t.Context(), time.Hour, wake) || time.Since(start) != time.Second {
			t.Errorf("false, or woken after %s", time.Since(start))
		}
	})
}
