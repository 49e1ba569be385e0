package modules

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/cmdline"
	"keelson/runtime/uevent"
)

const (
	// catchUp is when devices are looked for that came between Boot's last look and
	// Follow's beginning: not at once, since the boot is at work.
	catchUp = time.Second
	// settle is for the devices behind one that has come, such as a USB hub.
	settle = 100 * time.Millisecond
)

// always are the modules the system needs whether or not a device asks.
var always = []string{"overlay"}

// System opens the database of the running kernel and adds what line says.
func System(line cmdline.Line) (*DB, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("cannot ask for the kernel's release: %w", err)
	}
	db, err := Open(unix.ByteSliceToString(name.Release[:]),
		[]string{"/lib/modules", "/usr/lib/modules"}, configDirs)
	if err != nil {
		return nil, err
	}
	for _, p := range line {
		db.config.Param(p.Name, p.Value, p.Set)
	}
	return db, nil
}

// Drivers are those of the machine as far as they are loaded.
type Drivers struct {
	*Loader
	devices *Devices
	// Left tells that there are buttons or input devices, which are left to Rest.
	Left bool
}

// Boot loads what the machine and the system need and makes self the kernel's
// helper for what it wants later. A system without modules is fine and gives nil.
func Boot(line cmdline.Line, self string) (*Drivers, error) {
	db, err := System(line)
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d := &Drivers{Loader: NewLoader(db), devices: NewDevices("/sys")}
	var errs []error
	for _, name := range always {
		errs = append(errs, d.Load(name))
	}
	errs = append(errs, d.Coldplug(func() ([]string, error) {
		all, err := d.devices.Fresh()
		count := len(all)
		all = slices.DeleteFunc(all, IsInput)
		d.Left = d.Left || len(all) < count
		return all, err
	}), ServeKernel(self))
	return d, errors.Join(errs...)
}

// Follow loads what devices need that come up later, until ctx ends, and hands
// what has come to also.
func (d *Drivers) Follow(ctx context.Context, report func(error), also func([]uevent.Event)) {
	events, err := uevent.Listen()
	if err != nil {
		report(err)
		return
	}
	defer events.Close()
	err = events.Gather(ctx, catchUp, settle, func(_ context.Context, come []uevent.Event) {
		if err := d.Coldplug(d.devices.Fresh); err != nil {
			report(err)
		}
		also(come)
	})
	if err != nil {
		report(err)
	}
}

// Rest loads what Boot left, and what devices need that have come since.
func Rest(line cmdline.Line) error {
	db, err := System(line)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	return NewLoader(db).Coldplug(NewDevices("/sys").Fresh)
}

// inputs begin the modaliases of ACPI's buttons for power, sleep and lid, and of
// the input devices that drivers make (Documentation/input/input.rst; ACPI
// Specification, "Button Objects").
var inputs = []string{"input:", "acpi:LNXPWRBN:", "acpi:LNXSLPBN:", "acpi:PNP0C0C:", "acpi:PNP0C0D:", "acpi:PNP0C0E:"}

// IsInput tells whether a device is touched by people only.
func IsInput(modalias string) bool {
	return slices.ContainsFunc(inputs, func(begin string) bool { return strings.HasPrefix(modalias, begin) })
}

const (
	helperSetting = "/proc/sys/kernel/modprobe"
	helperDefault = "/sbin/modprobe"
)

// ServeKernel makes self the program the kernel runs when it wants a module
// (a file system being mounted, an address family being used), unless the
// image has a modprobe of its own.
func ServeKernel(self string) error {
	if _, err := os.Stat(helperDefault); err == nil {
		return nil
	}
	err := os.WriteFile(helperSetting, []byte(self), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // No such file: no loadable modules.
		return fmt.Errorf("cannot serve the kernel's wishes for modules: %w", err)
	}
	return nil
}

// Wish returns the alias in arguments as the kernel passes them to its
// helper: modprobe -q -- ALIAS.
func Wish(args []string) (alias string, ok bool) {
	if len(args) == 4 && args[1] == "-q" && args[2] == "--" {
		return args[3], true
	}
	return "", false
}

// Fulfil loads what the kernel wished for.
func Fulfil(alias string) error {
	line, err := cmdline.Read()
	if err != nil {
		return err
	}
	db, err := System(line)
	if err != nil {
		return err
	}
	if len(db.Resolve(alias)) == 0 {
		return fmt.Errorf("cannot load %s: %w", alias, ErrNone)
	}
	return NewLoader(db).Load(alias)
}
