package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"keelson/init/modules"
	"keelson/init/role"
	"keelson/mounts"
	"keelson/runtime/hotplug"
	"keelson/runtime/uevent"
)

// loadModules loads what the machine and the contract need, and goes on with
// devices that come up later for as long as this role runs; the supervisor sees
// to those after it.
func loadModules(ctx context.Context, w world) (string, error) {
	drivers, err := modules.Boot(w.line, role.Init)
	if drivers == nil {
		return "0 loaded", err
	}
	if drivers.Left {
		if err := background(role.Devices); err != nil {
			w.log.Error("the power button and keyboards do not work", "error", err)
		}
	}
	err = errors.Join(err, mountFromModules(drivers), makeStaticNodes(drivers))
	count := len(drivers.Loaded)
	go follow(ctx, drivers, w.log)
	return fmt.Sprintf("%d loaded", count), err
}

// beginHotplug is about CPUs and memory that are added while the machine runs.
func beginHotplug(w world) error {
	_, decided := w.line.Last("memhp_default_state")
	return hotplug.This.Begin(decided)
}

func follow(ctx context.Context, drivers *modules.Drivers, log *slog.Logger) {
	report := func(err error) { log.Error("devices that come late may not work", "error", err) }
	defer func() {
		if r := recover(); r != nil { // The boot is worth more.
			report(fmt.Errorf("panic: %v", r))
		}
	}()
	drivers.Follow(ctx, report, func(come []uevent.Event) { hotplug.This.Handle(come, log) })
}

// mountFromModules mounts the file systems of the core table whose drivers are
// modules of the image: PID 1 has made that table before modules can be loaded.
func mountFromModules(drivers *modules.Drivers) error {
	var table []mounts.Item
	var errs []error
	for _, item := range mounts.Core() {
		fs, ok := item.Thing.(mounts.FS)
		if !ok || !item.Optional {
			continue
		}
		found, err := drivers.LoadFileSystem(fs.Type)
		errs = append(errs, err)
		if found {
			table = append(table, item)
		}
	}
	if len(table) > 0 { // Apply reads all mounts.
		errs = append(errs, mounts.Apply(table))
	}
	return errors.Join(errs...)
}

// makeStaticNodes makes device nodes such as /dev/fuse, whose modules the kernel
// loads when they are opened first.
func makeStaticNodes(drivers *modules.Drivers) error {
	nodes, err := drivers.StaticNodes()
	errs := []error{err}
	for _, n := range nodes {
		path := filepath.Join("/dev", n.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			errs = append(errs, fmt.Errorf("cannot make device node %s: %w", path, err))
			continue
		}
		errs = append(errs, mounts.Node{Path: path, Mode: n.Mode, Major: n.Major, Minor: n.Minor}.Make())
	}
	return errors.Join(errs...)
}
