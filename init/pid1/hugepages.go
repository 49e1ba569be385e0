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
	if _, given := line.Last("transparent_hugepage"); given {
		return nil
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("cannot ask for the machine's memory: %w", err)
	}
	err := os.WriteFile(hugePages, []byte(hugePageMode(uint64(info.Totalram)*uint64(info.Unit))), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // No such file: a kernel without them.
		return fmt.Errorf("cannot limit huge pages: %w", err)
	}
	return nil
}

func hugePageMode(memory uint64) string {
	if memory < hugePagesFrom {
		return "never"
	}
	return "madvise"
}
