package staging

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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
		memory, err := available("/proc/meminfo")
		if err != nil {
			return 0, err
		}
		if s.Blocks == 0 || memory < free { // ramfs, and tmpfs with size=0, have no limit.
			free = memory
		}
	}
	if free -= max(free/10, minReserve); free <= 0 {
		return 0, fmt.Errorf("cannot use %s: less than %d MiB are free: %w", dir, minReserve>>20, unix.ENOSPC)
	}
	return free, nil
}

// available returns MemAvailable of proc_meminfo(5) in bytes.
func available(meminfo string) (int64, error) {
	f, err := os.Open(meminfo)
	if err != nil {
		return 0, fmt.Errorf("cannot find out how much memory is available: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("cannot read MemAvailable in %s: %w", meminfo, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("%s has no MemAvailable: %v", meminfo, lines.Err())
}
