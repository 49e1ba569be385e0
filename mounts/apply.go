package mounts

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Missing returns the items of table that are not mounted, in the same order. A file
// system counts as mounted when the topmost mount on its mount point has its type: mounts
// of the kernel or of an outer system stay.
func Missing(table []Item, mounted []*mountinfo.Info) []Item {
	top := make(map[string]string, len(mounted))
	for _, m := range mounted {
		top[m.Mountpoint] = m.FSType // Later mounts are on top.
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

// sameAs reports whether fstype serves as m. Outer systems, such as containers, provide
// a tmpfs with a few nodes as /dev.
func (m FS) sameAs(fstype string) bool {
	return fstype == m.Type || m.Type == "devtmpfs" && fstype == "tmpfs"
}

// Apply makes all missing items of table. It continues after errors and returns them
// joined.
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

// current returns the mounts. Without /proc there are none.
func current() []*mountinfo.Info {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil
	}
	return infos
}

// unavailable reports whether an error means that the kernel lacks a file system, or its
// mount point in /sys. mkdir(2) in /sys returns EPERM; efivarfs returns EOPNOTSUPP on
// firmware without variables.
func unavailable(err error) bool {
	for _, e := range []error{fs.ErrNotExist, fs.ErrPermission, unix.ENODEV, unix.EOPNOTSUPP, unix.EBUSY, unix.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
