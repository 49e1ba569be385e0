package main

import (
	"context"
	"log/slog"
	"time"

	"keelson/runtime/clock"
	"keelson/runtime/userspace"
)

// clockLimit is how long a disk or a hardware clock may hold up the shutdown.
const clockLimit = 2 * time.Second

// keepClock stores the time of the machine, also once ctx ends, while the services stop; end waits for
// that.
func keepClock(ctx context.Context, env userspace.Environment, log *slog.Logger) (end func()) {
	if !env.Machine {
		return func() {}
	}
	k := clock.Keep(ctx, log)
	return func() {
		limit, cancel := context.WithTimeout(context.Background(), clockLimit)
		defer cancel()
		k.Wait(limit)
	}
}
