package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// OpenPort opens the virtio-serial port of the given name. If there is none, it waits until
// its driver announces it.
func OpenPort(name string) (*os.File, error) {
	// Listen before looking for the port, so that no event is missed.
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
		// Look again also after lost events (ENOBUFS).
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

// findPort returns the device whose /sys/class/virtio-ports/vportNpM/name is name.
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
