package corecgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"keelson/runtime/procfs"
)

// Name is the name of the cgroup, below the root.
const Name = "keelson.core"

// Parameter of the kernel command line sets how much memory is protected.
const Parameter = "keelson.reserve"

const (
	// root is where cgroups are mounted.
	root = "/sys/fs/cgroup"
	// weight is the share of the core in the processors when all are busy; a service has
	// 100. Without it, all processes of the core together would have as much as one service.
	weight = "1000"
)

// Sizes of the protection.
const (
	least        = 1 << 20
	most         = 1 << 40
	defaultLeast = 48 << 20
	defaultMost  = 256 << 20
	defaultShare = 8 // of the memory
)

// ParseReserve reads a value of keelson.reserve=: a size with a unit such as MiB, "on" for what suits a machine
// with that much memory, or "off", which is 0. Only what the core uses counts: the rest is not kept free.
func ParseReserve(value string, memory int64) (int64, error) {
	switch value {
	case "off":
		return 0, nil
	case "on":
		return min(max(memory/defaultShare, defaultLeast), defaultMost), nil
	}
	n, err := units.RAMInBytes(value)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("bad value %q: want on, off, or a size such as 64MiB, from 1MiB to 1TiB", value)
	}
	return n, nil
}

// Default is the value of the parameter where it is missing: "on" if the root is on a disk. The kernel can take nothing back from
// programs in memory as long as there is no swap, and counting their memory costs a boot 2 %.
func Default() string { return defaultFor("/") }

func defaultFor(root string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(root, &s); err != nil || s.Type == unix.RAMFS_MAGIC || s.Type == unix.TMPFS_MAGIC {
		return "off"
	}
	return "on"
}

// Memory returns the size of the machine's memory.
func Memory() (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("cannot read the size of the memory: %w", err)
	}
	return int64(info.Totalram) * int64(info.Unit), nil
}

// Join makes the cgroup, protects that much memory of it, and moves this process to it. Where
// there is no unified hierarchy with the controller memory, or nothing to protect, it does nothing.
func Join(reserve int64) error { return join(root, reserve) }

func join(root string, reserve int64) error {
	if reserve == 0 || !hasMemory(root) {
		return nil
	}
	dir := filepath.Join(root, Name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make the cgroup of the core: %w", err)
	}
	shares := true
	if err := write(root, "cgroup.subtree_control", "+memory +cpu"); err != nil {
		// A kernel without shares of processors, or one that refuses them because of real-time processes.
		shares = false
		if err := write(root, "cgroup.subtree_control", "+memory"); err != nil {
			return err
		}
	}
	err := write(dir, "memory.min", strconv.FormatInt(reserve, 10))
	if shares {
		err = errors.Join(err, write(dir, "cpu.weight", weight))
	}
	if err != nil {
		return err // A process there would have less than in the root cgroup.
	}
	return write(dir, "cgroup.procs", "0")
}

// hasMemory reports whether root is that of a unified hierarchy with the controller memory.
func hasMemory(root string) bool {
	text, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	return err == nil && slices.Contains(strings.Fields(string(text)), "memory")
}

// Leave moves this process to the root cgroup if it is in that of the core: what it starts is
// not protected.
func Leave() error {
	cgroups, err := procfs.ReadCgroup("/proc", os.Getpid())
	if err != nil {
		return fmt.Errorf("cannot leave the cgroup of the core: %w", err)
	}
	if !slices.ContainsFunc(cgroups, func(c procfs.Cgroup) bool { return c.V2() && c.Path == "/"+Name }) {
		return nil
	}
	return write(root, "cgroup.procs", "0")
}

// write writes to a file of a cgroup, without creating or truncating it.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot set up the cgroup of the core: %w", err)
	}
	_, err = f.WriteString(value)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot set up the cgroup of the core: %w", err)
	}
	return nil
}
