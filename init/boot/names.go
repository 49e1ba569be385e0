package boot

import (
	"context"
	"time"

	"keelson/init/names"
	"keelson/runtime/devnames"
	"keelson/runtime/uevent"
	"keelson/runtime/userspace"
)

// namesLimit is how long the boot waits for the links to devices. The role makes those to
// devices that do not answer later.
const namesLimit = 5 * time.Second

// Names is the role that makes the links in /dev/disk and /dev/serial. The arguments are the
// devices that have changed.
func Names(ctx context.Context, env userspace.Environment, changed []string) error {
	if !env.Machine { // The devices belong to the outer system.
		return nil
	}
	return runRole(env, func(rc roleContext) error {
		return names.This.Update(ctx, changed, func(err error) { rc.log.Warn("a device has not all of its names", "error", err) })
	})
}

// makeNames makes the links for the devices that exist, in a process of its own: a disk that
// does not answer would keep this one from ending.
func makeNames(ctx context.Context) error {
	if !names.This.Any() {
		return nil
	}
	ended := make(chan error, 1)
	go func() { ended <- renewNames(ctx, []string{uevent.All}) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(namesLimit):
		return nil
	case <-ctx.Done():
		return nil
	}
}

// renewNames runs the role, which goes on when this process ends: it may wait for a disk.
func renewNames(_ context.Context, changed []string) error {
	return devnames.Run(context.Background(), changed)
}
