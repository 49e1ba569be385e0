package image

import (
	"keelson/testvm/image/tree"
)

// resolvConf is the target of the root's symlink /etc/resolv.conf: a writable place.
const resolvConf = "/run/resolvconf/resolv.conf"

const hosts = `127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
`

const noResolv = "\n# no resolv.conf configured\n"

// leftovers are files that container engines leave in an image.
var leftovers = []string{".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname"}

// standard returns an image's files as LinuxKit lays them out: without leftovers of
// container engines, with mount points, hosts and resolv.conf. linkResolv makes
// resolv.conf a symlink, for files of the root.
func standard(in *tree.Tree, linkResolv bool) (*tree.Tree, error) {
	out := tree.New()
	if err := out.Merge("", in); err != nil {
		return nil, err
	}
	for _, name := range leftovers {
		out.Remove(name)
	}
	for _, dir := range []string{"dev", "dev/pts", "dev/shm", "etc", "proc", "sys"} {
		if _, ok := out.Get(dir); !ok {
			out.MkdirAll(dir, 0o755, 0, 0)
		}
	}
	resolv := tree.Entry{Path: "etc/resolv.conf", Type: tree.File, Mode: 0o644, Data: []byte(noResolv)}
	if linkResolv {
		resolv = tree.Entry{Path: "etc/resolv.conf", Type: tree.Symlink, Mode: 0o644, Link: resolvConf}
	}
	entries := []tree.Entry{{Path: "etc/hosts", Type: tree.File, Mode: 0o644, Data: []byte(hosts)}, resolv}
	if _, ok := out.Get("etc/mtab"); !ok {
		entries = append(entries, tree.Entry{Path: "etc/mtab", Type: tree.Symlink, Mode: 0o755, Link: "/proc/mounts"})
	}
	for _, e := range entries {
		if err := out.Put(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}
