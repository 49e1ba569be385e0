package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// modprobe loads a module and what modules.dep says it needs.
func modprobe(name string) error {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(uts.Release[:]))
	deps, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(deps)) {
		file, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		base := strings.ReplaceAll(filepath.Base(file), "-", "_")
		if base != name+".ko" {
			continue
		}
		// modules.dep lists the nearest need first: load from the far end.
		list := strings.Fields(needs)
		for i := len(list) - 1; i >= 0; i-- {
			if err := insmod(filepath.Join(dir, list[i])); err != nil {
				return err
			}
		}
		return insmod(filepath.Join(dir, file))
	}
	return nil // built in, or not there: its user will tell
}

func insmod(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != syscall.EEXIST {
		return fmt.Errorf("cannot load %s: %w", path, err)
	}
	return nil
}
