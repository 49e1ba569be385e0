package modules

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Loader inserts each module once.
type Loader struct {
	db     *DB
	insert func(Load) error
	done   map[string]bool // loaded or failed
	Loaded []string
}

// NewLoader returns a Loader that skips the modules in /proc/modules.
func NewLoader(db *DB) *Loader {
	l := &Loader{db: db, insert: insert, done: make(map[string]bool)}
	if text, err := os.ReadFile("/proc/modules"); err == nil {
		for line := range strings.Lines(string(text)) {
			name, _, _ := strings.Cut(line, " ")
			l.done[name] = true
		}
	}
	return l
}

// Load loads the modules for a name or alias. It is not an error if there is none.
func (l *Loader) Load(alias string) error {
	var errs []error
	for _, name := range l.db.Resolve(alias) {
		errs = append(errs, l.load(name))
	}
	return errors.Join(errs...)
}

func (l *Loader) load(name string) error {
	for _, step := range l.db.Plan(name, l.done) {
		l.done[step.Name] = true
		switch err := l.insert(step); {
		case err == nil && step.Install != "":
		case err == nil:
			l.Loaded = append(l.Loaded, step.Name)
		case errors.Is(err, unix.EEXIST):
		case !step.Soft:
			return fmt.Errorf("cannot load module %s: %w", step.Name, err)
		}
	}
	return nil
}

// Coldplug loads the modules of all devices and repeats that until no module is loaded:
// the driver of a bus adds devices. A driver without hardware (ENODEV) and a blocked
// module are not reported. When ctx ends, it loads the modules of no further device.
func (l *Loader) Coldplug(ctx context.Context, modaliases func() ([]string, error)) error {
	seen := make(map[string]bool)
	var errs []error
	for {
		aliases, err := modaliases()
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		before := len(l.Loaded)
		for _, a := range aliases {
			if ctx.Err() != nil {
				return errors.Join(errs...)
			}
			if seen[a] {
				continue
			}
			seen[a] = true
			if err := l.Load(a); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, ErrBlocked) {
				errs = append(errs, err)
			}
		}
		if len(l.Loaded) == before { // No driver that could have added a device.
			return errors.Join(errs...)
		}
	}
}

// Devices returns the modalias of each device once.
type Devices struct {
	sys  string
	seen map[string]bool // folders of devices
}

// NewDevices returns the devices of sysfs at sys.
func NewDevices(sys string) *Devices { return &Devices{sys: sys, seen: make(map[string]bool)} }

// Fresh returns the modaliases of the devices that were added since the last call.
// Devices with a modalias are on a bus, or in the classes input and dmi.
func (d *Devices) Fresh() ([]string, error) {
	buses, err := os.ReadDir(filepath.Join(d.sys, "bus"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list devices: %w", err)
	}
	dirs := []string{"class/input", "class/dmi"}
	for _, b := range buses {
		dirs = append(dirs, filepath.Join("bus", b.Name(), "devices"))
	}
	var all []string
	for _, dir := range dirs {
		all = d.in(filepath.Join(d.sys, dir), all)
	}
	return all, nil
}

// in appends the modaliases of the new devices in a folder.
func (d *Devices) in(dir string, all []string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return all
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1) // A device may be removed meanwhile.
	for _, name := range names {
		path := dir + "/" + name
		if d.seen[path] {
			continue
		}
		d.seen[path] = true
		if alias := readAlias(int(f.Fd()), name+"/modalias"); alias != "" {
			all = append(all, alias)
		}
	}
	return all
}

// readAlias reads the modalias of a device; most have none.
func readAlias(dir int, path string) string {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	text := make([]byte, 4096) // sysfs(5) gives a page at most.
	n, err := unix.Read(fd, text)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text[:n]))
}
