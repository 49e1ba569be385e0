package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func asErrno(err error, errno *syscall.Errno) bool { return errors.As(err, errno) }

func pointer(p *int32) uintptr { return uintptr(unsafe.Pointer(p)) }

func open(path string) error {
	f, err := os.Open(path)
	if err == nil {
		f.Close()
	}
	return err
}

// launch starts a program that does not exist in new namespaces.
func launch(flags uintptr) error {
	cmd := exec.Command("/none")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Start()
}

func execute() error {
	defer os.Remove("/program")
	if err := os.WriteFile("/program", []byte("#!/program\n"), 0o777); err != nil {
		return err
	}
	return unix.Exec("/program", []string{"/program"}, nil)
}

// call makes a system call. One that is denied fails whatever its arguments are.
func call(number uintptr, args ...uintptr) error {
	args = append(args, 0, 0, 0)
	if _, _, errno := unix.Syscall(number, args[0], args[1], args[2]); errno != 0 {
		return errno
	}
	return nil
}

// fork returns in the child process as well, which ends.
func fork() error {
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return nil
}

// elsewhere makes a call on another thread, which existed when the filter was set.
func elsewhere() error {
	result := make(chan error)
	go func() { result <- call(unix.SYS_BPF, ^uintptr(0)) }()
	return <-result
}

// thread starts a new thread and waits for it.
func thread() error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // It ends with its goroutine.
		done <- nil
	}()
	return <-done
}

func gain(c int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[c/32].Effective |= 1 << (c % 32)
	data[c/32].Permitted |= 1 << (c % 32)
	return unix.Capset(&header, &data[0])
}

// give is what the child must be able to do.
func give() error {
	defer os.Remove("/file")
	return errors.Join(
		os.WriteFile("/file", nil, 0o600), os.Chown("/file", 4_000_000_000, 1), os.Chmod("/file", 0o755|os.ModeSetuid), open("/file"))
}
