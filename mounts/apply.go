package mounts

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Missing is the part of table that is not mounted yet, in the same order.
// A file system counts as mounted when the topmost mount at its place is of
// its type: what the kernel or an outer system has mounted is left alone.
func Missing(table []Item, mounted []*mountinfo.Info) []Item {
	top := make(map[string]string, len(mounted))
	for _, m := range mounted {
		top[m.Mountpoint] = m.FSType // Later ones lie on top.
	}
	var missing []Item
	for _, item := range table {
		if m, ok := item.Thing.(FS); ok && m.sameAs(top[m.Target]) {
			continue
		}
		missing = append(missing, item)
	}
	return missing
}

// sameAs tells whether fstype does for m. Outer systems, containers among
// them, give a tmpfs with a few nodes for /dev.
func (m FS) sameAs(fstype string) bool {
	return fstype == m.Type || m.Type == "devtmpfs" && fstype == "tmpfs"
}

// Apply makes every item of table that is missing. It goes on after an error
// and returns all of them, joined.
func Apply(table []Item) error {
	var errs []error
	for _, item := range Missing(table, current()) {
		err := item.Thing.Make()
		if err == nil || item.Optional && unavailable(err) {
			continue
		}
		errs = append(errs, fmt.Errorf("%w (needed for: %s)", err, item.Why))
	}
	return errors.Join(errs...)
}

// current is what is mounted, as far as it can be known: before /proc is
// there nothing is.
func current() []*mountinfo.Info {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil
	}
	return infos
}

// unavailable tells a file system this kernel does not have, or whose mount
// point in /sys it does not offer, from a real failure. EPERM is what /sys
// answers to mkdir; EOPNOTSUPP is efivarfs on firmware without variables.
func unavailable(err error) bool {
	for _, e := range []error{fs.ErrNotExist, fs.ErrPermission, unix.ENODEV, unix.EOPNOTSUPP, unix.EBUSY, unix.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
