package mounts

import (
	"errors"
	"fmt"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const (
	busyPatience = 500 * time.Millisecond
	busyPause    = 10 * time.Millisecond
	roundsLimit  = 15 * time.Second

	ioctlFreeze = 0xc0045877 // FIFREEZE: _IOWR('X', 119, int)
)

// Mounted is a mount of a plan, to be unmounted.
type Mounted struct {
	Target string
	FSType string
}

// volatile are file systems in memory, which need not be unmounted.
var volatile = map[string]bool{
	"autofs": true, "binfmt_misc": true, "bpf": true, "cgroup": true, "cgroup2": true,
	"configfs": true, "debugfs": true, "devpts": true, "devtmpfs": true, "efivarfs": true,
	"fusectl": true, "hugetlbfs": true, "mqueue": true, "proc": true, "pstore": true,
	"ramfs": true, "rootfs": true, "securityfs": true, "selinuxfs": true, "sysfs": true,
	"tmpfs": true, "tracefs": true,
}

// UnmountPlan returns the mounts in infos in the order to unmount them: mounts on top and
// below first, later ones before earlier ones. The root stays, and so do file systems in
// memory unless they lie on one that is not. Bind mounts of namespaces (nsfs) are
// unmounted: the namespaces have mounts.
func UnmountPlan(infos []*mountinfo.Info) []Mounted {
	roots, children := mountTree(infos)
	var plan []Mounted
	seen := make(map[int]bool, len(infos)) // An inconsistent read may contain a cycle.
	var walk func(m *mountinfo.Info, must bool)
	walk = func(m *mountinfo.Info, must bool) {
		if seen[m.ID] {
			return
		}
		seen[m.ID] = true
		root := m.Mountpoint == "/"
		must = !root && (must || !volatile[m.FSType])
		below := children[m.ID]
		for i := len(below) - 1; i >= 0; i-- {
			walk(below[i], must)
		}
		if must {
			plan = append(plan, Mounted{Target: m.Mountpoint, FSType: m.FSType})
		}
	}
	for i := len(roots) - 1; i >= 0; i-- {
		walk(roots[i], false)
	}
	return plan
}

// mountTree returns the mounts without a parent in infos, and the others by the ID of
// their parent.
func mountTree(infos []*mountinfo.Info) (roots []*mountinfo.Info, children map[int][]*mountinfo.Info) {
	known := make(map[int]bool, len(infos))
	for _, m := range infos {
		known[m.ID] = true
	}
	children = make(map[int][]*mountinfo.Info, len(infos))
	for _, m := range infos {
		if m.ID == m.Parent || !known[m.Parent] {
			roots = append(roots, m)
		} else {
			children[m.Parent] = append(children[m.Parent], m)
		}
	}
	return roots, children
}

// UnmountAll unmounts all file systems of UnmountPlan, never lazily, and stops the loop,
// device-mapper and md devices. File systems that stay busy are made read-only, as is the
// root, and reported; so are disks that are still in use. It is for the PID 1 of a machine
// only: block devices have no namespaces.
func UnmountAll() error {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("cannot list file systems to unmount: %w", err)
	}
	busy := unmountRounds(infos)
	return errors.Join(readOnly(busy), rootReadOnly(infos), reportHeld())
}

// UnmountPlanned unmounts in this order and returns the mounts that stay busy, with the
// errors. Since a mount may hold another one (a loop device, an overlay), it retries busy
// mounts as long as others are unmounted, and for busyPatience after that: the kernel may
// close the files of a process some time after its end, in a worker (fput()), and sends
// no event.
func UnmountPlanned(mounts []Mounted) (busy []Mounted, err error) {
	for end := time.Now().Add(busyPatience); ; mounts = busy {
		busy, err = unmountEach(mounts)
		if len(busy) < len(mounts) && len(busy) > 0 {
			continue
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return busy, err
		}
		<-time.After(busyPause)
	}
}

func unmountEach(mounts []Mounted) (busy []Mounted, err error) {
	var errs []error
	for _, s := range mounts {
		if err := Unmount(s.Target, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			busy, errs = append(busy, s), append(errs, err)
		}
	}
	return busy, errors.Join(errs...)
}

// readOnly makes file systems that stay mounted read-only. It returns an error for each.
func readOnly(busy []Mounted) error {
	var errs []error
	for _, s := range busy {
		how, err := quiesce(s.Target)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s stays mounted and writable: %w", s.Target, err))
			continue
		}
		errs = append(errs, fmt.Errorf("%s (%s) is busy: left mounted, %s", s.Target, s.FSType, how))
	}
	return errors.Join(errs...)
}

func rootReadOnly(infos []*mountinfo.Info) error {
	for _, m := range infos {
		if m.Mountpoint == "/" && !volatile[m.FSType] {
			_, err := quiesce("/")
			return err
		}
	}
	return nil
}

// quiesce makes the file system at target read-only. Where a file that is open for writing
// prevents that, it freezes the file system (FIFREEZE, ioctl_fifreeze in linux/fs.h),
// which also empties the journal. It returns what was done.
func quiesce(target string) (string, error) {
	err := Mount("", target, "", []string{"remount,ro"})
	if err == nil {
		return "read-only", nil
	}
	fd, openErr := unix.Open(target, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if openErr != nil {
		return "", err
	}
	defer unix.Close(fd)
	if freezeErr := unix.IoctlSetInt(fd, ioctlFreeze, 0); freezeErr != nil && !errors.Is(freezeErr, unix.EBUSY) {
		return "", err
	}
	return "frozen", nil // EBUSY: it is frozen already.
}
