package mounts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// CanMountPrivate reports whether the kernel has what PrivateFolder needs
// (fsopen(2), Linux 5.2), and this process the rights.
func CanMountPrivate() bool {
	fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// PrivateFolder opens dir (O_PATH) in the root and the mount namespace of
// process pid, which must not be that of this process. A small tmpfs is mounted
// on it, unless one is there: no other mount namespace has that, whatever it
// binds. The folder above dir must be a mount point; that mount is made private,
// so that mounts below it do not spread.
func PrivateFolder(pid int, dir string) (*os.File, error) {
	fd, err := -1, error(nil)
	entered := inMountNS(pid, func(root int) { fd, err = privateFolder(root, dir) })
	if err := errors.Join(entered, err); err != nil {
		return nil, fmt.Errorf("cannot mount a private folder on %s for process %d: %w", dir, pid, err)
	}
	return os.NewFile(uintptr(fd), dir), nil
}

func privateFolder(root int, dir string) (int, error) {
	parent, err := openIn(root, filepath.Dir(dir))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if err := mkdirAsOwner(parent, filepath.Base(dir)); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, fmt.Errorf("cannot make it: %w", err)
	}
	below, err := openIn(parent, filepath.Base(dir))
	if err != nil {
		return -1, err
	}
	there, err := mountedTmpfs(parent, below)
	if there && err == nil {
		return below, nil
	}
	if err == nil {
		err = mountPrivate(parent, below)
	}
	_ = unix.Close(below)
	if err != nil {
		return -1, err
	}
	return openIn(parent, filepath.Base(dir))
}

// mkdirAsOwner makes a folder in the name of who owns the one above: in a file
// system of a user namespace others can make none (EOVERFLOW). It sets the
// thread's fsuid and fsgid (setfsuid(2)), and sets them back.
func mkdirAsOwner(parent int, name string) error {
	var above unix.Stat_t
	if err := unix.Fstat(parent, &above); err != nil {
		return err
	}
	gid, err := unix.SetfsgidRetGid(int(above.Gid))
	if err != nil {
		return err
	}
	uid, err := unix.SetfsuidRetUid(int(above.Uid))
	if err != nil {
		return err
	}
	err = unix.Mkdirat(parent, name, 0o755)
	_, back := unix.SetfsuidRetUid(uid)
	_, backGroup := unix.SetfsgidRetGid(gid)
	return errors.Join(err, back, backGroup)
}

// openIn opens a folder, which no symbolic link leads to.
func openIn(root int, path string) (int, error) {
	fd, err := unix.Openat2(root, path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, fmt.Errorf("cannot open %s: %w", path, err)
	}
	return fd, nil
}

// mountedTmpfs reports whether below is a tmpfs mounted in the folder parent.
func mountedTmpfs(parent, below int) (bool, error) {
	var up, down unix.Stat_t
	var fs unix.Statfs_t
	err := errors.Join(unix.Fstat(parent, &up), unix.Fstat(below, &down), unix.Fstatfs(below, &fs))
	return up.Dev != down.Dev && fs.Type == unix.TMPFS_MAGIC, err
}

// mountPrivate mounts on target, a folder right below the mount point parent.
func mountPrivate(parent, target int) error {
	fs, err := newTmpfs(map[string]string{"size": "4k", "nr_inodes": "4", "mode": "755"})
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.Fchdir(parent); err != nil {
		return err
	}
	if err := unix.Mount("", ".", "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make the mount above private: %w", err)
	}
	err = unix.MoveMount(fs, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("cannot attach tmpfs: %w", err)
	}
	return nil
}

// newTmpfs makes one that is mounted nowhere yet (fsmount(2)).
func newTmpfs(options map[string]string) (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot make tmpfs: %w", err)
	}
	defer unix.Close(fs)
	for key, value := range options {
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return -1, fmt.Errorf("cannot make tmpfs with %s=%s: %w", key, value, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("cannot make tmpfs: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot make tmpfs: %w", err)
	}
	return fd, nil
}

// errSameNS is returned when a process is in the mount namespace of this one.
var errSameNS = errors.New("it is in the mount namespace of the system")

// inMountNS calls f in the mount namespace of process pid, with a descriptor of
// its root, on a thread that ends afterwards: setns(2) wants one that shares its
// root and working folder with no other.
func inMountNS(pid int, f func(root int)) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	there, err := ns.Stat()
	if err != nil {
		return err
	}
	if here, err := os.Stat("/proc/self/ns/mnt"); err != nil || os.SameFile(here, there) {
		return errors.Join(errSameNS, err)
	}
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open root: %w", err)
	}
	defer unix.Close(root)
	done := make(chan error)
	go onSpareThread(func() {
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)
		}
		if err == nil {
			f(root)
		} else {
			err = fmt.Errorf("cannot enter mount namespace: %w", err)
		}
		done <- err
	})
	return <-done
}

// onSpareThread calls f on a thread that ends with this goroutine, since that is
// never unlocked. It leaves the main thread alone, whose root and namespaces are
// seen as those of the process.
func onSpareThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		onSpareThread(f)
	}()
	<-done // Until then nobody else gets this thread.
}
