package mounts

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ErrUnfit is returned by OpenReadOnly for a file that cannot be opened again.
var ErrUnfit = errors.New("only a regular file of a local file system, opened for reading, can be handed over")

// OpenReadOnly opens a file of another process again, at its beginning. Whoever has the new
// descriptor can only read the file: it belongs to a mount of its own, which is read-only, so that
// owner, mode, times and attributes cannot be changed either, whatever the privileges are.
//
// The file is regular, is open for reading only, and its mount is one of this namespace: else
// ErrUnfit is returned. File systems on which a call may take as long as another program or
// machine likes (FUSE, network) are refused before they are asked anything. Linux before 5.12
// cannot make such a mount. Sources: open_tree(2), mount_setattr(2), proc_pid_fdinfo(5).
func OpenReadOnly(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var opened *os.File
	var inner error
	err = raw.Control(func(fd uintptr) { opened, inner = openReadOnly(int(fd)) })
	return opened, errors.Join(err, inner)
}

func openReadOnly(fd int) (*os.File, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if flags&(unix.O_ACCMODE|unix.O_PATH|unix.O_DIRECT) != unix.O_RDONLY {
		return nil, ErrUnfit
	}
	if err := checkLocal(fd); err != nil {
		return nil, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, ErrUnfit
	}
	tree, err := unix.OpenTree(fd, "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot clone the mount of a file: %w", err)
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return nil, fmt.Errorf("cannot make the mount of a file read-only: %w", err)
	}
	opened, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", tree), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open a file again: %w", err)
	}
	return opened, nil
}

// checkLocal returns ErrUnfit for a file whose mount is not in this namespace, or whose file system
// may answer late or never. It does not ask the file system.
func checkLocal(fd int) error {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return fmt.Errorf("cannot find the mount of a file: %w", err)
	}
	id := 0
	for line := range strings.Lines(string(info)) {
		if value, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			if _, err := fmt.Sscan(value, &id); err != nil {
				return fmt.Errorf("cannot find the mount of a file: %w", err)
			}
		}
	}
	found, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.ID != id, m.ID == id })
	if err != nil {
		return fmt.Errorf("cannot find the mount of a file: %w", err)
	}
	if len(found) == 0 || isRemote(found[0].FSType) {
		return ErrUnfit
	}
	return nil
}

// isRemote reports whether a program or another machine answers for a file system.
func isRemote(kind string) bool {
	for _, prefix := range []string{"fuse", "nfs", "cifs", "smb", "9p", "ceph", "virtiofs", "afs", "autofs", "coda", "orangefs", "gfs", "ocfs"} {
		if strings.HasPrefix(kind, prefix) {
			return true
		}
	}
	return false
}
