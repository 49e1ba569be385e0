package staging

import (
	"fmt"

	"golang.org/x/sys/unix"

	"keelson/runtime/procfs"
)

// minReserve is what stays free on a file system at least, in bytes.
const minReserve = 16 << 20

// room returns how many bytes the files of an artifact below dir may have: what the file
// system has free, and what memory is available if it is one in memory, less a tenth.
func room(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("cannot find out how much room %s has: %w", dir, err)
	}
	free := int64(s.Bavail) * int64(s.Frsize)
	if s.Type == unix.TMPFS_MAGIC || s.Type == unix.RAMFS_MAGIC {
		memory, err := procfs.ReadMemory("/proc")
		if err != nil {
			return 0, err
		}
		if s.Blocks == 0 || memory.Available < free { // ramfs, and tmpfs with size=0, have no limit.
			free = memory.Available
		}
	}
	if free -= max(free/10, minReserve); free <= 0 {
		return 0, fmt.Errorf("cannot use %s: less than %d MiB are free: %w", dir, minReserve>>20, unix.ENOSPC)
	}
	return free, nil
}
