package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/netcfg"
)

const (
	hostnameFile = "/etc/hostname"
	resolvConf   = "/etc/resolv.conf"
)

// setHostname takes /etc/hostname; without it the name the kernel was given,
// if any; else a name made of the first network card's address.
func setHostname() (string, error) {
	text, err := os.ReadFile(hostnameFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot read the host name: %w", err)
	}
	current, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("cannot ask for the host name: %w", err)
	}
	mac, _ := netcfg.HardwareAddr("eth0") // Without a card there is none.
	name := hostname(string(text), current, mac)
	if name == current {
		return name, nil
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return "", fmt.Errorf("cannot set host name %s: %w", name, err)
	}
	return name, nil
}

func hostname(file, current, mac string) string {
	if name := strings.TrimSpace(file); name != "" {
		return name
	}
	if current != "" && current != "(none)" {
		return current
	}
	if mac == "" {
		return "linuxkit"
	}
	return "linuxkit-" + strings.ReplaceAll(mac, ":", "")
}

// makeResolvConf makes the file /etc/resolv.conf leads to, so that a DHCP
// client can bind it into its container before it has written anything.
func makeResolvConf() error { return makeTarget(resolvConf) }

func makeTarget(link string) error {
	to, err := os.Readlink(link)
	if err != nil {
		return nil // Missing, or a file of its own.
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(link), to)
	}
	if strings.HasPrefix(to, "/proc/") {
		return nil // /proc/net/pnp, the kernel's own.
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("cannot make what %s leads to: %w", link, err)
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("cannot make what %s leads to: %w", link, err)
	}
	return f.Close()
}
