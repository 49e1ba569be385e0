package modules

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Loader inserts modules and remembers which, so that none is tried twice.
type Loader struct {
	db     *DB
	insert func(Step) error
	done   map[string]bool // loaded, or tried in vain
	Loaded []string
}

// NewLoader makes a Loader over db that knows what is loaded already.
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

// Load loads the modules for a name or alias; that there is none is no error.
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
		case err == nil:
			l.Loaded = append(l.Loaded, step.Name)
		case errors.Is(err, unix.EEXIST):
		case !step.Soft:
			return fmt.Errorf("cannot load module %s: %w", step.Name, err)
		}
	}
	return nil
}

// Coldplug loads the modules for every device there is, again and again until
// no new device comes up: a bus's driver makes new ones. A device without
// hardware behind it (ENODEV) is not worth a word.
func (l *Loader) Coldplug(modaliases func() ([]string, error)) error {
	seen := make(map[string]bool)
	var errs []error
	for {
		aliases, err := modaliases()
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		fresh := slices.DeleteFunc(aliases, func(a string) bool { return seen[a] })
		if len(fresh) == 0 {
			return errors.Join(errs...)
		}
		for _, a := range fresh {
			if seen[a] {
				continue
			}
			seen[a] = true
			if err := l.Load(a); err != nil && !errors.Is(err, unix.ENODEV) {
				errs = append(errs, err)
			}
		}
	}
}

// Modaliases lists the modalias of every device below sys, which is /sys.
// Devices that have one are on a bus or, as input devices and DMI are, in a
// class.
func Modaliases(sys string) ([]string, error) {
	var all []string
	for _, pattern := range []string{"bus/*/devices/*/modalias", "class/*/*/modalias"} {
		files, err := filepath.Glob(filepath.Join(sys, pattern))
		if err != nil {
			return nil, fmt.Errorf("cannot list devices: %w", err)
		}
		for _, f := range files {
			// The device may have gone meanwhile.
			if text, err := os.ReadFile(f); err == nil && len(text) > 1 {
				all = append(all, strings.TrimSpace(string(text)))
			}
		}
	}
	return all, nil
}

func insert(s Step) error {
	f, err := os.Open(s.File)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(s.File, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), strings.Join(s.Params, " "), flags)
	if flags != 0 && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)) {
		return fmt.Errorf("%w (compressed modules need a kernel with CONFIG_MODULE_DECOMPRESS)", err)
	}
	return err
}
