package mounts

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Error is a failed mount or unmount call with its arguments.
type Error struct {
	Op     string // mount, remount, propagate, unmount, …
	Source string
	Target string
	FSType string
	Flags  uintptr
	Data   string
	Err    error
}

// Error returns "cannot mount proc on /proc (flags 0xe, data "x"): reason".
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cannot %s", e.Op)
	if what := e.what(); what != "" {
		fmt.Fprintf(&b, " %s on", what)
	}
	fmt.Fprintf(&b, " %s", e.Target)
	if e.Flags != 0 || e.Data != "" {
		fmt.Fprintf(&b, " (flags %#x, data %q)", e.Flags, e.Data)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

func (e *Error) what() string {
	if e.FSType == "" || e.FSType == e.Source {
		return e.Source
	}
	if e.Source == "" {
		return e.FSType
	}
	return e.FSType + " " + e.Source
}

func (e *Error) Unwrap() error { return e.Err }

// call is one mount(2). keep retains the flags of the existing mount without clear: the
// kernel replaces all flags on a remount.
type call struct {
	op                     string
	source, target, fstype string
	flags, clear           uintptr
	keep                   bool
	data                   string
}

// perMount are the flags of a bind mount. The kernel ignores them when the bind mount is
// made and sets them in a remount only.
const perMount = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC |
	unix.MS_NODIRATIME | unix.MS_NOSYMFOLLOW | atime

// Mount mounts source on target as mount(8) would with fstab-style options:
// flags and their opposites, bind, rbind, remount, and the propagation words; other words
// are data for the file system. A bind with flags and a remount retain the flags of the
// mount. A remount with only a propagation changes only that.
func Mount(source, target, fstype string, opts []string) error {
	for _, c := range calls(source, target, fstype, parseOptions(opts)) {
		if err := c.do(); err != nil {
			return err
		}
	}
	return nil
}

// calls returns the system calls of Mount.
func calls(source, target, fstype string, o options) []call {
	if fstype == "bind" || fstype == "rbind" {
		o.flag(fstype)
	}
	var plan []call
	switch flags := o.set; {
	case flags&unix.MS_REMOUNT != 0:
		if flags&^(unix.MS_REMOUNT|unix.MS_REC) != 0 || o.clear != 0 || o.data != "" || len(o.propagation) == 0 {
			plan = append(plan, call{op: "remount", target: target, flags: flags, clear: o.clear, keep: true, data: o.data})
		}
	case flags&unix.MS_BIND != 0:
		plan = append(plan, call{op: "bind", source: source, target: target, flags: flags & (unix.MS_BIND | unix.MS_REC)})
		if own := flags & perMount; own != 0 || o.clear&perMount != 0 {
			plan = append(plan, call{op: "remount", target: target, flags: own | unix.MS_BIND | unix.MS_REMOUNT, clear: o.clear, keep: true})
		}
	case fstype == "" && flags == 0 && o.data == "" && len(o.propagation) > 0:
		// Only the propagation changes.
	default:
		plan = append(plan, call{op: "mount", source: named(source, fstype), target: target, fstype: fstype, flags: flags, data: o.data})
	}
	for _, p := range o.propagation {
		plan = append(plan, call{op: "change propagation of", target: target, flags: p})
	}
	return plan
}

// named returns a source for a file system without one: an empty source would be an empty
// field in mountinfo, which many parsers do not expect.
func named(source, fstype string) string {
	if source == "" {
		return fstype
	}
	return source
}

func (c call) do() error {
	flags := c.flags
	if c.keep {
		flags |= kept(c.target, c.flags) &^ c.clear
	}
	var err error
	if len(c.data) >= os.Getpagesize() {
		err = fmt.Errorf("%d bytes of options, the kernel reads one page: %w", len(c.data), unix.E2BIG)
	} else {
		err = ignoringEINTR(func() error { return unix.Mount(c.source, c.target, c.fstype, flags, c.data) })
	}
	if err != nil {
		return &Error{Op: c.op, Source: c.source, Target: c.target, FSType: c.fstype, Flags: flags, Data: c.data, Err: err}
	}
	return nil
}

// kept returns the flags of the mount on target, without those for access times when the
// caller sets some.
func kept(target string, asked uintptr) uintptr {
	var s unix.Statfs_t
	if err := unix.Statfs(target, &s); err != nil {
		return 0 // The mount call that follows reports it.
	}
	flags := uintptr(s.Flags) & (unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC |
		unix.MS_NODIRATIME | unix.MS_SYNCHRONOUS | unix.MS_MANDLOCK)
	if asked&atime == 0 {
		flags |= uintptr(s.Flags) & unix.MS_NOATIME
		if s.Flags&unix.ST_RELATIME != 0 {
			flags |= unix.MS_RELATIME
		}
	}
	return flags
}

// Unmount unmounts what is mounted on target; flags as in umount2(2).
func Unmount(target string, flags int) error {
	err := ignoringEINTR(func() error { return unix.Unmount(target, flags|unix.UMOUNT_NOFOLLOW) })
	if err != nil {
		return &Error{Op: "unmount", Target: target, Flags: uintptr(flags), Err: err}
	}
	return nil
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
