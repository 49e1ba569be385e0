package mounts

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNoIDMap is returned for a file system that the kernel cannot mount with other owners
// of its files (mount_setattr(2), "ID-mapped mounts").
var ErrNoIDMap = errors.New("the kernel cannot map the owners of files on this file system")

// UserNamespace returns a user namespace in which the IDs from 0 to size-1 are the system's
// from first on, for users and groups. It exists as long as the file is open or a mount or
// process uses it.
//
// A namespace needs a process to be made: this program again, which stops at its execve(2)
// because it is traced (ptrace(2)), executes nothing of it, and is killed.
func UserNamespace(first, size uint32) (*os.File, error) {
	runtime.LockOSThread() // The thread is the tracer.
	defer runtime.UnlockOSThread()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(first), Size: int(size)}}
	process, err := os.StartProcess("/proc/self/exe", []string{"user-namespace"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}})
	if err != nil {
		return nil, fmt.Errorf("cannot make a user namespace with the IDs from %d to %d: %w%s", first, uint64(first)+uint64(size)-1, err, whyNoUsers(err))
	}
	f, err := os.Open("/proc/" + strconv.Itoa(process.Pid) + "/ns/user")
	if err != nil {
		err = fmt.Errorf("cannot open a user namespace: %w", err)
	}
	_ = process.Kill()
	_, _ = process.Wait()
	return f, err
}

// whyNoUsers explains why the kernel refuses a user namespace (user_namespaces(7), clone(2)).
func whyNoUsers(err error) string {
	switch {
	case errors.Is(err, unix.EINVAL):
		return " (the kernel has no CONFIG_USER_NS)"
	case errors.Is(err, unix.ENOSPC):
		return " (the sysctl user.max_user_namespaces is too low)"
	case errors.Is(err, unix.EPERM):
		return " (the system itself is in a user namespace without these IDs or may make none, or the sysctl kernel.yama.ptrace_scope is 3)"
	}
	return ""
}

// BindIDMapped binds source, with the mounts below it, on target: a file of user N on the
// file system has the owner on target to whom users maps N. Mounts below source keep their
// owners.
func BindIDMapped(source, target string, users *os.File) error {
	fd, err := cloneIDMapped(source, users)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &Error{Op: "bind", Source: source, Target: target, Err: err}
	}
	return nil
}

// CheckIDMap returns the error with which BindIDMapped would fail because of source.
func CheckIDMap(source string, users *os.File) error {
	fd, err := cloneIDMapped(source, users)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

// cloneIDMapped returns a copy of the mounts at source that is mounted nowhere. The kernel
// has the system calls since 5.12, and answers EINVAL for other file systems than those
// that it can map.
func cloneIDMapped(source string, users *os.File) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if errors.Is(err, unix.ENOSYS) {
		return -1, &Error{Op: "map the owners of", Target: source, Err: ErrNoIDMap}
	}
	if err != nil {
		return -1, &Error{Op: "clone the mount of", Target: source, Err: err}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())}
	err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr)
	if err == nil {
		return fd, nil
	}
	_ = unix.Close(fd)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = ErrNoIDMap
	}
	return -1, &Error{Op: "map the owners of", Target: source, Err: err}
}
