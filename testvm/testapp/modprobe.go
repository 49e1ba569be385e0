package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/depmod"
)

// modprobe loads a module and its dependencies by modules.dep.
func modprobe(name string) error {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(uts.Release[:]))
	f, err := os.Open(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return err
	}
	defer f.Close()
	modules, err := depmod.ParseDep(f)
	if err != nil {
		return err
	}
	module, ok := modules[name]
	if !ok {
		return nil // It is built in; if it is missing, its use fails later.
	}
	for _, file := range slices.Backward(append([]string{module.Path}, module.Deps...)) {
		if err := insmod(filepath.Join(dir, file)); err != nil {
			return err
		}
	}
	return nil
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
