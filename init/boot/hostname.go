package boot

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/netcfg"
)

const (
	hostnameFile = "/etc/hostname"
	// hostnameMax is the longest host name in bytes (HOST_NAME_MAX, sethostname(2)).
	hostnameMax = 64
)

// setHostname sets the host name from /etc/hostname. Without that file, it keeps the
// name that the kernel was given, if any, or makes one from the address of the first
// network card. A file that cannot be used is an error and otherwise treated like a
// missing one.
func setHostname() (string, error) {
	text, fileErr := readOptional(hostnameFile)
	given, err := parseHostname(string(text))
	if fileErr = errors.Join(fileErr, err); fileErr != nil {
		fileErr = fmt.Errorf("cannot use %s: %w", hostnameFile, fileErr)
	}
	current, err := os.Hostname()
	if err != nil {
		return "", errors.Join(fileErr, fmt.Errorf("cannot read the host name: %w", err))
	}
	mac, _ := netcfg.HardwareAddr("eth0") // On failure, there is no card.
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

// parseHostname returns the name in a file of hostname(5): the first word that is not
// in a comment, or "".
func parseHostname(text string) (string, error) {
	text = strings.TrimPrefix(text, "\ufeff") // A byte order mark that some editors write.
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		name := strings.TrimSuffix(words[0], ".")
		if !validHostname(name) {
			return "", fmt.Errorf("%.100q is not a host name: want at most %d letters, digits, '-', '_' and single dots", words[0], hostnameMax)
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
