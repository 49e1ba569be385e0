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

	"keelson/runtime/cmdline"
	"keelson/runtime/uevent"
	"keelson/runtime/userspace"
)

const (
	// catchUp is the delay before Follow looks for devices that were added after Boot
	// looked last. The boot uses the processors until then.
	catchUp = time.Second
	// settle is the time to wait for devices behind a new one, such as a USB hub.
	settle = 100 * time.Millisecond
)

// always are modules that keelson needs and no device requests.
var always = []string{"overlay"}

// System opens the database of the running kernel and adds the parameters of line.
func System(line cmdline.Line) (*DB, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("cannot read the kernel's release: %w", err)
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

// Drivers loads the drivers of the machine.
type Drivers struct {
	*Loader
	devices *Devices
	// Left reports whether there are buttons or input devices, whose drivers Rest loads.
	Left bool
}

// Boot loads the modules that the machine and keelson need, and makes self the kernel's
// module helper. Without modules for the kernel it returns nil.
func Boot(ctx context.Context, line cmdline.Line, self string) (*Drivers, error) {
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
	errs = append(errs, d.Coldplug(ctx, func() ([]string, error) {
		all, err := d.devices.Fresh()
		count := len(all)
		all = slices.DeleteFunc(all, IsInput)
		d.Left = d.Left || len(all) < count
		return all, err
	}), ServeKernel(self))
	return d, errors.Join(errs...)
}

// Follow loads modules for devices that are added until ctx ends, and passes the events
// to also.
func (d *Drivers) Follow(ctx context.Context, report func(error), also func([]uevent.Event)) {
	events, err := uevent.Listen()
	if err != nil {
		report(err)
		return
	}
	defer events.Close()
	err = events.Gather(ctx, catchUp, settle, func(ctx context.Context, added []uevent.Event) {
		if err := d.Coldplug(ctx, d.devices.Fresh); err != nil {
			report(err)
		}
		also(added)
	})
	if err != nil {
		report(err)
	}
}

// Rest loads the modules that Boot left, and those of devices added since.
func Rest(ctx context.Context, line cmdline.Line) error {
	db, err := System(line)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	return NewLoader(db).Coldplug(ctx, NewDevices("/sys").Fresh)
}

// inputs are prefixes of modaliases: ACPI's buttons for power, sleep and lid, and the
// input devices that drivers add (Documentation/input/input.rst; ACPI
// Specification, "Button Objects").
var inputs = []string{"input:", "acpi:LNXPWRBN:", "acpi:LNXSLPBN:", "acpi:PNP0C0C:", "acpi:PNP0C0D:", "acpi:PNP0C0E:"}

// IsInput reports whether a modalias is that of a button or an input device.
func IsInput(modalias string) bool {
	return slices.ContainsFunc(inputs, func(begin string) bool { return strings.HasPrefix(modalias, begin) })
}

const (
	helperSetting = "/proc/sys/kernel/modprobe"
	helperDefault = "/sbin/modprobe"
)

// ServeKernel makes self the program that the kernel runs to load a module (for a file
// system to mount, an address family), unless the image has /sbin/modprobe.
func ServeKernel(self string) error {
	if _, err := os.Stat(helperDefault); err == nil {
		return nil
	}
	err := os.WriteFile(helperSetting, []byte(self), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // No such file: no loadable modules.
		return fmt.Errorf("cannot set the kernel's module helper, kernel.modprobe: %w", err)
	}
	return nil
}

// RequestedAlias returns the alias in the arguments that the kernel passes to its module
// helper, modprobe -q -- ALIAS, and reports whether they have that form.
func RequestedAlias(args []string) (alias string, ok bool) {
	if len(args) == 4 && args[1] == "-q" && args[2] == "--" {
		return args[3], true
	}
	return "", false
}

// LoadRequested loads the modules of an alias that the kernel requests.
func LoadRequested(alias string) error {
	line, err := cmdline.Read(userspace.Machine())
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
