package disk

import (
	"context"
	"errors"
	"fmt"
	"os"

	"keelson/mounts"
	"keelson/runtime/disk/plan"
)

// Extend grows the partition of each of the disks, and the file system in it. Without disks, it
// does so with all that have one partition, with a file system of type fstype; others are left
// alone.
func (y System) Extend(ctx context.Context, fstype string, disks []string) error {
	if len(disks) == 0 {
		s, err := y.State(plan.Want{})
		if err != nil {
			return err
		}
		count := map[string]int{}
		for _, d := range s.Devices {
			count[d.Disk]++
		}
		for _, d := range s.Devices {
			if d.Disk != "" && count[d.Disk] == 1 && d.Content.Type == fstype {
				disks = append(disks, y.Dev+"/"+d.Disk)
			}
		}
		if len(disks) == 0 {
			y.say("no disk has one partition with %s: nothing to extend", fstype)
		}
	}
	var errs []error
	for _, disk := range disks {
		errs = append(errs, y.extend(ctx, fstype, disk))
	}
	return errors.Join(errs...)
}

// extend grows what is on a disk while it is mounted where nobody else sees it.
func (y System) extend(ctx context.Context, fstype, disk string) error {
	dir, err := os.MkdirTemp("", "extend-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	d, err := y.steps(ctx, plan.Want{Device: disk, Type: fstype, Check: true, Grow: true, Mount: dir, Wait: Wait}, Options{})
	if there, _ := mounts.IsMountPoint(dir); there {
		if unmounted := mounts.Unmount(dir, 0); unmounted != nil {
			err = errors.Join(err, unmounted)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot extend what is on %s: %w", disk, err)
	}
	y.say("%s (%s) has all of its disk", d.Name, d.Content.Type)
	return nil
}
