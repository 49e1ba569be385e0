// Package ready waits for the supervisor to announce that the services have been
// started. The announcement is a file in /run/keelson/state.
//
// Sources: inotify(7).
package ready

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/paths"
	"keelson/runtime/timeline"
	"keelson/runtime/watch"
)

const (
	stateDir = paths.State + "/state"
	limit    = 60 * time.Second
)

// Wait returns when the services have been started or have failed to, after a minute
// at most.
func Wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return waitForAny(ctx, []string{stateDir + "/." + timeline.Ready, stateDir + "/." + timeline.Degraded})
}

// waitForAny returns when one of paths, all in one folder, exists. It waits for
// events of the nearest folder above that exists.
func waitForAny(ctx context.Context, paths []string) error {
	events, err := watch.New()
	if err != nil {
		return err
	}
	defer events.Close()
	defer context.AfterFunc(ctx, func() { events.Close() })()
	for buffer := make([]byte, 4096); ; {
		for dir := filepath.Dir(paths[0]); ; dir = filepath.Dir(dir) {
			err := events.Add(dir, unix.IN_CREATE|unix.IN_MOVED_TO)
			if err == nil || dir == "/" || ctx.Err() != nil {
				break
			}
		}
		for _, path := range paths { // Only after the watch, so that nothing is missed.
			if _, err := os.Stat(path); err == nil {
				return nil
			}
		}
		if _, err := events.Read(buffer); err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
