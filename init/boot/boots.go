package boot

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/boots"
	"keelson/runtime/timeline"
	"keelson/runtime/version"
)

// bootsLimit is how long a slow disk may hold up the boot.
const bootsLimit = 30 * time.Second

// beginBoot begins a boot whose logs are kept, once all is mounted and before a service writes a
// log, and shows how the boot before it ended. It does nothing if /var is in memory.
func beginBoot(rc roleContext) error {
	if !rc.env.Machine {
		return nil
	}
	o := boots.System()
	if value, given := rc.line.Last(boots.Parameter); given {
		if b, err := boots.ParseBounds(value); err == nil { // A bad value was reported.
			o.Bounds = b
		}
	}
	var err error
	if o.ID, err = boots.This(); err != nil {
		return err
	}
	now := time.Now()
	o.Begin = boots.Begin{Time: now.UTC(), Epoch: time.Duration(now.UnixNano()) - timeline.Now(), Kernel: release(), Version: version.String()}
	this, before, kept, err := boots.Start(o)
	if kept {
		rc.console.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Boots, Result: summary(this, before)})
	}
	return err
}

// summary says which boot this is, and how the one before ended.
func summary(this boots.Boot, before *boots.Boot) string {
	if before == nil {
		return fmt.Sprintf("boot %d, the first one on this disk", this.Number)
	}
	return fmt.Sprintf("boot %d; end of the last one: %v", this.Number, before)
}

// release returns the release of the kernel.
func release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}
