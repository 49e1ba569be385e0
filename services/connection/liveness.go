package connection

import (
	"context"
	"time"

	"keelson/runtime/backoff"
	"keelson/services/containerd"
)

const (
	// PingTime is how long containerd may take to answer the cheapest call.
	PingTime = 5 * time.Second
	// PingInterval is how often containerd is asked whether it is alive.
	PingInterval = time.Minute
	// SlowTime is how long a call may take before containerd is asked whether it is
	// alive.
	SlowTime = 10 * time.Second
)

// Failed reports whether a call failed because of containerd itself, and not because
// of what it was asked. The connection is dropped then, and a containerd that hangs
// is killed.
func (c *Connection) Failed(ctx context.Context, tasks Tasks, err error) bool {
	switch {
	case containerd.Unavailable(err):
		c.Lost(tasks)
		return true
	case containerd.TimedOut(err):
		return !c.Check(ctx, tasks)
	}
	return false
}

// Check asks containerd whether it is alive, and reports the answer. One that does
// not answer is killed; the connection is dropped then.
func (c *Connection) Check(ctx context.Context, tasks Tasks) (alive bool) {
	limited, cancel := context.WithTimeout(ctx, PingTime)
	defer cancel()
	err := tasks.Ping(limited)
	if err == nil || ctx.Err() != nil {
		return true
	}
	if !containerd.Unavailable(err) {
		c.options.Logger.Error("containerd hangs and is killed; services keep running", "no answer for", PingTime)
		if err := tasks.KillDaemon(); err != nil {
			c.options.Logger.Error("cannot kill containerd", "error", err)
		}
	}
	c.Lost(tasks)
	return false
}

// CheckIfSlow checks containerd when the call that ends with call takes longer than
// SlowTime. ctx ends the check itself.
func (c *Connection) CheckIfSlow(ctx, call context.Context, tasks Tasks) {
	if backoff.Wait(call, SlowTime) {
		c.Check(ctx, tasks)
	}
}

// Watch checks containerd every PingInterval until ctx ends: a containerd that hangs while
// it is not called is noticed by nothing else.
func (c *Connection) Watch(ctx context.Context) {
	for backoff.Wait(ctx, PingInterval) {
		if tasks := c.Current(); tasks != nil {
			c.Check(ctx, tasks)
		}
	}
}
