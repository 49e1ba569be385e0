package boot

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"keelson/init/names"
	"keelson/init/role"
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
	if err := startNames([]string{uevent.All}, func(err error) { ended <- err }); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(namesLimit):
		return nil
	case <-ctx.Done():
		return nil
	}
}

// startNames starts the role. ended is called with its error when it ends.
func startNames(changed []string, ended func(error)) error {
	c := exec.Command(role.Init, append([]string{role.Names}, changed...)...)
	if err := c.Start(); err != nil {
		return fmt.Errorf("cannot start init %s: %w", role.Names, err)
	}
	go func() {
		err := c.Wait()
		if err != nil {
			err = fmt.Errorf("init %s: %w", role.Names, err)
		}
		ended(err)
	}()
	return nil
}
