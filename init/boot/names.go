package boot

import (
	"errors"
	"fmt"
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

// hostnameMax is the longest host name in bytes (HOST_NAME_MAX, sethostname(2)).
const hostnameMax = 64

// setHostname takes /etc/hostname; without it the name the kernel was given,
// if any; else a name made of the first network card's address. A file that
// cannot be used is an error, and counts as none.
func setHostname() (string, error) {
	text, fileErr := readSmall(hostnameFile)
	given, err := parseHostname(string(text))
	if fileErr = errors.Join(fileErr, err); fileErr != nil {
		fileErr = fmt.Errorf("cannot use %s: %w", hostnameFile, fileErr)
	}
	current, err := os.Hostname()
	if err != nil {
		return "", errors.Join(fileErr, fmt.Errorf("cannot ask for the host name: %w", err))
	}
	mac, _ := netcfg.HardwareAddr("eth0") // Without a card there is none.
	name := hostname(given, current, mac)
	if fileErr != nil {
		fileErr = fmt.Errorf("%w; the host name is %s", fileErr, name)
	}
	if name == current {
		return name, fileErr
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return "", errors.Join(fileErr, fmt.Errorf("cannot set host name %s: %w", name, err))
	}
	return name, fileErr
}

// parseHostname returns the name in a file of hostname(5): the first word that
// is not in an empty line or a comment. It is "" when there is none.
func parseHostname(text string) (string, error) {
	text = strings.TrimPrefix(text, "\ufeff") // As some editors begin a file.
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		name := strings.TrimSuffix(words[0], ".")
		if !validHostname(name) {
			return "", fmt.Errorf("%.100q is no host name: want at most %d letters, digits, '-', '_' and single dots", words[0], hostnameMax)
		}
		return name, nil
	}
	return "", nil
}

func validHostname(name string) bool {
	if len(name) > hostnameMax {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInHostname) {
			return false
		}
	}
	return true
}

func notInHostname(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

func hostname(given, current, mac string) string {
	switch {
	case given != "":
		return given
	case current != "" && current != "(none)":
		return current
	case mac == "":
		return "linuxkit"
	}
	return "linuxkit-" + strings.ReplaceAll(mac, ":", "")
}

// makeResolvConf makes the file /etc/resolv.conf leads to, so that a DHCP
// client can bind it into its container before it has written anything. Its usual
// folder is made even when the link leads elsewhere: LinuxKit's dhcpcd binds it.
func makeResolvConf() error {
	err := os.MkdirAll(filepath.Dir(netcfg.ResolvConf), 0o755)
	return errors.Join(err, makeTarget(resolvConf))
}

func makeTarget(link string) error {
	to, err := os.Readlink(link)
	if err != nil {
		return nil // Missing, or a file of its own.
	}
	if _, err := os.Stat(link); err == nil {
		return nil // There already, perhaps on a root that cannot be written.
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
