package main

import (
	"errors"
	"os"
	"os/exec"
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
