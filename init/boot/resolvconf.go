package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"keelson/netcfg"
)

const resolvConf = "/etc/resolv.conf"

// makeResolvConf creates the file to which /etc/resolv.conf links, so that a DHCP
// client can bind it into its container before it has written anything. The usual
// folder is created even if the link points elsewhere: LinuxKit's dhcpcd binds it.
func makeResolvConf() error {
	err := os.MkdirAll(filepath.Dir(netcfg.ResolvConf), 0o755)
	return errors.Join(err, makeTarget(resolvConf))
}

func makeTarget(link string) error {
	to, err := os.Readlink(link)
	if err != nil {
		return nil // It is missing, or not a link.
	}
	if _, err := os.Stat(link); err == nil {
		return nil // The target exists, perhaps on a read-only root.
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(link), to)
	}
	if strings.HasPrefix(to, "/proc/") {
		return nil // /proc/net/pnp, which the kernel provides.
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("cannot create the target of %s: %w", link, err)
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("cannot create the target of %s: %w", link, err)
	}
	return f.Close()
}
