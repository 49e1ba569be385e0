package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"keelson/init/cmdline"
)

const (
	// hugePages is the kernel's switch for transparent huge pages
	// (admin-guide/mm/transhuge.rst).
	hugePages = "/sys/kernel/mm/transparent_hugepage/enabled"
	// hugePagesFrom is the memory, in bytes, from which on a machine has them.
	hugePagesFrom = 2 << 30
)

// limitHugePages leaves huge pages to programs that ask for them (madvise(2)).
// Given to all, as most kernels do, they make every small program clear and
// keep megabytes that it never uses. A small machine has none: the kernel sets
// a twentieth of its memory aside for making them. What transparent_hugepage=
// says on the command line stays.
func limitHugePages(line cmdline.Line) error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("cannot read the size of the memory: %w", err)
	}
	mode := hugePageMode(line, uint64(info.Totalram)*uint64(info.Unit))
	if mode == "" {
		return nil
	}
	err := os.WriteFile(hugePages, []byte(mode), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // Without that file the kernel has no huge pages.
		return fmt.Errorf("cannot limit huge pages: %w", err)
	}
	return nil
}

// hugePageMode returns the mode for a machine with that much memory, or "" when the
// command line sets one.
func hugePageMode(line cmdline.Line, memory uint64) string {
	if _, given := line.Last("transparent_hugepage"); given {
		return ""
	}
	if memory < hugePagesFrom {
		return "never"
	}
	return "madvise"
}
