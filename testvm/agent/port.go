package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// OpenPort opens the virtio-serial port of the given name, waiting for its
// driver to announce it when it is not there yet.
func OpenPort(name string) (*os.File, error) {
	// Listen first, look second: nothing is missed in between.
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("cannot listen to uevents: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return nil, fmt.Errorf("cannot listen to uevents: %w", err)
	}
	buf := make([]byte, 16<<10)
	for {
		if dev := findPort(name); dev != "" {
			return openPort(dev)
		}
		// A lost event (ENOBUFS) is as good a reason to look again as any.
		if _, _, err := unix.Recvfrom(fd, buf, 0); err != nil && err != unix.EINTR && err != unix.ENOBUFS {
			return nil, fmt.Errorf("cannot receive uevents: %w", err)
		}
	}
}

func openPort(dev string) (*os.File, error) {
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the agent's port: %w", err)
	}
	return f, nil
}

// findPort looks through /sys/class/virtio-ports/vportNpM/name.
func findPort(name string) string {
	files, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && string(bytes.TrimSpace(text)) == name {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(f)))
		}
	}
	return ""
}
