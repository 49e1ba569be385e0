package environment

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"

	"keelson/mounts"
	"keelson/runtime/userspace"
)

// MountMissing mounts what the outer system has not mounted.
func (e Environment) MountMissing() error {
	err := mounts.Apply(missing(append(mounts.Essential(), mounts.Core()...), e.Before))
	if !isMounted(e.Before, "/sys/fs/cgroup") {
		err = errors.Join(err, mounts.Apply(mounts.Cgroup2()))
	}
	if e.Owns(userspace.Mount) {
		err = errors.Join(err, mounts.Mount("", "/", "", []string{"rshared"}))
	}
	return err
}

// missing returns the part of table that is applied in userspace mode. Existing mounts
// stay. File systems that expose the kernel and devices belong to the outer system: a
// missing /dev gets only harmless nodes.
func missing(table []mounts.Item, before []Mount) (items []mounts.Item) {
	for _, item := range table {
		m, isMount := item.Thing.(mounts.FS)
		switch {
		case !isMount:
			if item, ok := harmless(item); ok {
				items = append(items, item)
			}
		case isMounted(before, m.Target), m.Target != "/sys" && strings.HasPrefix(m.Target, "/sys/"), strings.HasPrefix(m.Target, "/proc/"):
		case m.Type == "devtmpfs":
			items = append(items, devices(item)...)
		default:
			items = append(items, item)
		}
	}
	return items
}

// harmless returns what a folder, link or node of the table is replaced by, or false if
// it is left out. The console and the kernel log discard everything.
func harmless(item mounts.Item) (mounts.Item, bool) {
	item.Optional = true
	switch thing := item.Thing.(type) {
	case mounts.Node:
		switch thing.Path {
		case "/dev/console", "/dev/kmsg":
			item.Thing = mounts.Link{To: "/dev/null", Path: thing.Path}
		case "/dev/null", "/dev/tty":
		default:
			return item, false
		}
	case mounts.Link:
		return item, thing.Path != "/dev/kcore"
	}
	return item, true
}

// devices returns, in place of devtmpfs, a tmpfs with the nodes that every container has.
func devices(dev mounts.Item) []mounts.Item {
	dev.Thing = mounts.FS{Source: "dev", Target: "/dev", Type: "tmpfs", Options: "nosuid,noexec,mode=755"}
	items := []mounts.Item{dev}
	for name, minor := range map[string]uint32{"zero": 5, "full": 7, "random": 8, "urandom": 9} {
		items = append(items, mounts.Item{Thing: mounts.Node{Path: "/dev/" + name, Mode: 0o666, Major: 1, Minor: minor}, Why: "devtmpfs would have it", Optional: true})
	}
	return items
}

func isMounted(all []Mount, target string) bool {
	return slices.ContainsFunc(all, func(m Mount) bool { return m.Point == target })
}

// Unmount unmounts what was mounted since Detect, latest first. Older mounts belong to
// the outer system.
func (e Environment) Unmount() error {
	if e.BeforeUnknown {
		return errors.New("cannot unmount anything: which mounts are the outer system's is not known any more")
	}
	now, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("cannot list what to unmount: %w", err)
	}
	_, err = mounts.UnmountPlanned(added(e.Before, now))
	return err
}

// added lists the mounts of now that are not in before, latest first.
func added(before []Mount, now []*mountinfo.Info) (own []mounts.Mounted) {
	known := map[Mount]bool{}
	for _, m := range before {
		known[m] = true
	}
	for _, m := range now {
		if m.Mountpoint != "/" && !known[Mount{m.ID, m.Mountpoint}] {
			own = append(own, mounts.Mounted{Target: m.Mountpoint, FSType: m.FSType})
		}
	}
	slices.Reverse(own)
	return own
}
