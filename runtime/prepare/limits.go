package prepare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// limitFiles are the files of a cgroup that a runtime writes for resources
// (cgroup-v2.rst; Documentation/admin-guide/cgroup-v1), as patterns of filepath.Match, in
// the order in which they are written.
var limitFiles = []string{
	"cpuset.mems", "cpuset.cpus", "cpu.idle", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.shares", "cpu.max.burst",
	"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes", "hugetlb.*.limit_in_bytes",
	"memory.oom.group", "*.max", "*.high", "*.low", "*.min", "*.weight",
}

// CopyLimits copies the limits of the cgroup at path from to the one at path to, in the
// unified hierarchy or in each of version 1. It does not copy rules for devices.
func CopyLimits(from, to string) error { return copyLimits(cgroupRoot, from, to) }

func copyLimits(root, from, to string) error {
	hierarchies, err := hierarchies(root)
	if err != nil {
		return fmt.Errorf("cannot copy limits: %w", err)
	}
	var errs []error
	for _, h := range hierarchies {
		from, to := filepath.Join(h, from), filepath.Join(h, to)
		_ = copyAll(from, to) // A limit of version 1 may depend on another that is copied later.
		errs = append(errs, copyAll(from, to))
	}
	return errors.Join(errs...)
}

func copyAll(from, to string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) { // The runtime does not use this hierarchy.
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot copy limits: %w", err)
	}
	var errs []error
	for _, pattern := range limitFiles {
		for _, entry := range entries {
			file := entry.Name()
			if match, _ := filepath.Match(pattern, file); !match || entry.IsDir() { // The patterns are well-formed.
				continue
			}
			if err := copyLimit(filepath.Join(from, file), filepath.Join(to, file)); err != nil {
				errs = append(errs, fmt.Errorf("cannot copy limit: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}

func copyLimit(from, to string) error {
	want, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	have, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	for _, line := range limitChanges(filepath.Base(to), string(have), string(want)) {
		if err := os.WriteFile(to, []byte(line+"\n"), 0); err != nil {
			return err
		}
	}
	return nil
}

// limitChanges returns the lines to write, one at a time, to a file with the content have
// so that it has the content want. A line of io.max is for one device.
func limitChanges(file, have, want string) (changes []string) {
	if want == "\n" && have != want || want == "" && have != "" && file != "io.max" {
		return []string{""}
	}
	for line := range strings.Lines(have) {
		if device, _, _ := strings.Cut(line, " "); file == "io.max" && !strings.Contains("\n"+want, "\n"+device+" ") {
			changes = append(changes, device+" rbps=max wbps=max riops=max wiops=max")
		}
	}
	for line := range strings.Lines(want) {
		idle := file == "cpu.weight" && line == "0\n" // what an idle cgroup shows; cpu.idle sets it
		if !idle && !strings.Contains("\n"+have, "\n"+line) {
			changes = append(changes, strings.TrimSuffix(line, "\n"))
		}
	}
	return changes
}
