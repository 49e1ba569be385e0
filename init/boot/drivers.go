package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"keelson/init/modules"
	"keelson/init/role"
	"keelson/mounts"
	"keelson/runtime/devnames"
	"keelson/runtime/hotplug"
	"keelson/runtime/uevent"
)

// loadModules loads the modules that the machine's devices and containers need. Until
// this role ends, it also serves devices that appear later; after it, the supervisor
// does.
func loadModules(ctx context.Context, rc roleContext) (string, error) {
	drivers, err := modules.Boot(ctx, rc.line, role.Init)
	if drivers == nil {
		return "0 loaded", err
	}
	if drivers.Left {
		if err := background(role.Devices); err != nil {
			rc.log.Error("the power button and keyboards do not work", "error", err)
		}
	}
	err = errors.Join(err, mountFromModules(drivers), makeStaticNodes(drivers))
	count := len(drivers.Loaded)
	go follow(ctx, drivers, rc.log)
	return fmt.Sprintf("%d loaded", count), err
}

// beginHotplug records which CPUs are present and has the kernel bring added memory
// online, unless the command line decides about that.
func beginHotplug(rc roleContext) error {
	_, decided := rc.line.Last("memhp_default_state")
	return hotplug.This.Begin(decided)
}

func follow(ctx context.Context, drivers *modules.Drivers, log *slog.Logger) {
	report := func(err error) { log.Error("devices that come late may not work", "error", err) }
	defer func() {
		if r := recover(); r != nil { // The boot continues without it.
			report(fmt.Errorf("panic: %v", r))
		}
	}()
	first := true
	names := devnames.New(renewNames, func(err error) { log.Error("links in /dev/disk are not all renewed: trying again", "error", err) })
	drivers.Follow(ctx, report, func(come []uevent.Event) {
		hotplug.This.Handle(come, log)
		if first { // The step after this one makes the links.
			first = false
			come = slices.DeleteFunc(come, func(e uevent.Event) bool { return e.Lost })
		}
		names.Renew(ctx, uevent.Changed(come))
	})
}

// mountFromModules mounts the file systems of the core table whose drivers are
// modules of the image: PID 1 applies that table before modules can be loaded.
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

// makeStaticNodes creates device nodes such as /dev/fuse, whose modules the kernel
// loads when they are first opened.
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
