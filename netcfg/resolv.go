package netcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// ResolvConf is where resolv.conf is written when /etc/resolv.conf is not a link.
	ResolvConf = "/run/resolvconf/resolv.conf"
	// pnpFile contains what the kernel configured itself (CONFIG_IP_PNP).
	pnpFile = "/proc/net/pnp"
)

// NameServers writes servers to the target of /etc/resolv.conf. Without servers it writes
// those that the kernel received.
func NameServers(servers []netip.Addr) error {
	text := resolvConf(servers)
	if len(servers) == 0 {
		pnp, err := os.ReadFile(pnpFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot read the kernel's name servers: %w", err)
		}
		text = resolvFromPNP(string(pnp))
	}
	if text == "" {
		return nil
	}
	return writeResolvConf(resolvConfPath("/etc/resolv.conf"), text)
}

func resolvConf(servers []netip.Addr) string {
	var b strings.Builder
	for i, s := range servers {
		if !slices.Contains(servers[:i], s) {
			fmt.Fprintf(&b, "nameserver %s\n", s)
		}
	}
	return b.String()
}

// resolvFromPNP returns the lines of /proc/net/pnp that resolv.conf(5) defines; "" when
// there is no name server among them. The file also contains "#PROTO: DHCP" or
// "#MANUAL", and "bootserver ADDRESS" (net/ipv4/ipconfig.c, pnp_seq_show).
func resolvFromPNP(text string) string {
	var lines []string
	found := false
	for line := range strings.Lines(text) {
		server := strings.HasPrefix(line, "nameserver ")
		if server || strings.HasPrefix(line, "domain ") {
			lines = append(lines, strings.TrimSpace(line)+"\n")
		}
		found = found || server
	}
	if !found {
		return ""
	}
	return strings.Join(lines, "")
}

// resolvConfPath returns the target of the link etc, or ResolvConf when it is not a link.
func resolvConfPath(etc string) string {
	to, err := os.Readlink(etc)
	if err != nil {
		return ResolvConf
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(etc), to)
	}
	return to
}

func writeResolvConf(path, text string) error {
	if path == pnpFile {
		return nil // The kernel's own file, as on systems whose root is on NFS.
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot write name servers: %w", err)
	}
	return nil
}
