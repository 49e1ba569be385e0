package covered

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Folders are those on which init mounts a tmpfs and whose files are restored.
// Below /dev, /proc and /sys is what the kernel has.
func Folders() []string { return []string{"/run", "/tmp", "/var"} }

// own is keelson's folder below /run. The marks of an initramfs lie there
// (init/pid1: begunFile); nothing of it is restored.
const own = "/run/keelson"

// Look returns those of dirs in which a mount that is yet to come would cover
// something. A folder on which something is mounted already may cover files
// too, which is not visible any more: mounted says whether to return it.
//
// It is called by PID 1: it opens nothing but directories, does not follow
// links, and reads at most one buffer of names.
func Look(dirs []string, mounted bool) []string {
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
	return slices.ContainsFunc(names, func(name string) bool { return dir+"/"+name != own })
}
