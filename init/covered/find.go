package covered

import (
	"slices"

	"golang.org/x/sys/unix"

	"keelson/runtime/paths"
)

// Folders returns the folders on which init mounts a tmpfs and whose files are restored.
// The kernel provides the files of /dev, /proc and /sys.
func Folders() []string { return []string{"/run", "/tmp", "/var"} }

// Own is keelson's folder below /run, which is not restored. It contains the marker files
// of an initramfs (init/pid1/initramfs: begunFile).
const Own = paths.State

// Find returns the folders of dirs in which a mount would cover files. A mount that exists
// may cover files that are not visible: mounted decides whether to return its folder.
//
// PID 1 calls it: it opens only directories, follows no links, and reads at most one
// buffer of names.
func Find(dirs []string, mounted bool) []string {
	var root unix.Stat_t
	if unix.Stat("/", &root) != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool {
		return !covers(dir, uint64(root.Dev), mounted)
	})
}

func covers(dir string, root uint64, mounted bool) bool {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	if uint64(st.Dev) != root {
		return mounted
	}
	buf := make([]byte, 4096)
	n, err := unix.ReadDirent(fd, buf)
	if err != nil || n <= 0 {
		return false
	}
	_, _, names := unix.ParseDirent(buf[:n], -1, nil)
	return slices.ContainsFunc(names, func(name string) bool { return dir+"/"+name != Own })
}
