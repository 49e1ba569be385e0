package reader

import (
	"time"

	"keelson/runtime/timeline"
)

// clock converts times since the boot.
type clock struct{ epoch time.Duration }

// set reads the clocks.
func (c *clock) set() { c.epoch = time.Duration(time.Now().UnixNano()) - timeline.Now() }

// wall returns the time of day at a time since the boot.
func (c *clock) wall(at time.Duration) time.Time { return time.Unix(0, int64(c.epoch+at)) }
