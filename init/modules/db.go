package modules

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"keelson/runtime/depmod"
)

// DB is the database of the modules of one kernel: the tables of depmod and the
// configuration.
type DB struct {
	dir     string
	files   map[string]depmod.Module
	aliases map[string][]depmod.Alias // by bus
	soft    map[string]depmod.Soft
	builtin map[string]bool
	config  Config
}

// ErrNone is returned when there is no folder of modules for the kernel.
var ErrNone = errors.New("no modules for this kernel")

// Open reads the database of a kernel release from the first of roots, such as
// /lib/modules, that has it, and the configuration from confDirs; the first folder has
// precedence.
func Open(release string, roots, confDirs []string) (*DB, error) {
	for _, root := range roots {
		dir := filepath.Join(root, release)
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return read(dir, confDirs)
		}
	}
	return nil, fmt.Errorf("cannot find modules of kernel %s: %w", release, ErrNone)
}

func read(dir string, confDirs []string) (*DB, error) {
	db := &DB{dir: dir, aliases: make(map[string][]depmod.Alias), config: newConfig()}
	var aliases []depmod.Alias
	err := errors.Join(
		with(filepath.Join(dir, "modules.dep"), true, func(r io.Reader) (err error) { db.files, err = depmod.ParseDep(r); return }),
		with(filepath.Join(dir, "modules.alias"), false, func(r io.Reader) (err error) { aliases, err = depmod.ParseAlias(r); return }),
		with(filepath.Join(dir, "modules.softdep"), false, func(r io.Reader) (err error) { db.soft, err = depmod.ParseSoftdep(r); return }),
		with(filepath.Join(dir, "modules.builtin"), false, func(r io.Reader) (err error) { db.builtin, err = depmod.ParseBuiltin(r); return }),
	)
	for _, a := range aliases {
		kind := bus(a.Pattern)
		db.aliases[kind] = append(db.aliases[kind], a)
	}
	return db, errors.Join(err, db.config.read(confDirs))
}

// with parses the file called name. A missing file is an error only when required.
func with(name string, required bool, parse func(io.Reader) error) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) && !required {
		return nil
	}
	if err == nil {
		defer f.Close()
		err = parse(f)
	}
	if err != nil {
		return fmt.Errorf("cannot read the database of modules: %w", err)
	}
	return nil
}

// Resolve returns the modules for the name of a module or an alias: those of modprobe.d,
// else the module of that name, else those whose own aliases match. Blacklisted modules
// are omitted when an alias leads to them, as in modprobe(8).
func (db *DB) Resolve(alias string) []string {
	names, found := db.config.alias(alias)
	if found {
		return slices.DeleteFunc(names, func(name string) bool { return db.config.Blacklist[name] })
	}
	name := depmod.Normal(alias)
	if _, own := db.config.installCommand(name); own || db.builtin[name] || db.files[name].Path != "" {
		return []string{name}
	}
	for _, kind := range slices.Compact([]string{bus(alias), ""}) {
		for _, a := range db.aliases[kind] {
			if !db.config.Blacklist[a.Module] && !slices.Contains(names, a.Module) && match(a.Pattern, alias) {
				names = append(names, a.Module)
			}
		}
	}
	return names
}

// Load is a module to insert, or a command to run in its place.
type Load struct {
	Name    string
	File    string
	Params  []string
	Install string // a command; empty for none
	Soft    bool   // a soft dependency: may fail
}

// Plan returns what to load for a module, in order: soft dependencies to load before
// it, dependencies, the module, and soft dependencies to load after it. Modules that are
// built in or loaded are omitted.
func (db *DB) Plan(name string, loaded map[string]bool) []Load {
	p := plan{db: db, seen: make(map[string]bool)}
	for l := range loaded {
		p.seen[l] = true
	}
	p.add(depmod.Normal(name), false)
	return p.steps
}

type plan struct {
	db    *DB
	seen  map[string]bool
	steps []Load
}

func (p *plan) add(name string, soft bool) {
	f := p.db.files[name]
	command, install := p.db.config.installCommand(name)
	if p.seen[name] || p.db.builtin[name] || f.Path == "" && !install {
		return
	}
	p.seen[name] = true // Before its dependencies: soft ones may form a cycle.
	around := p.db.softdeps(name)
	p.addSoft(around.Pre)
	if install { // The command loads dependencies.
		p.steps = append(p.steps, Load{Name: name, Install: command, Soft: soft})
	} else {
		p.addFile(name, f, soft)
	}
	p.addSoft(around.Post)
}

// addFile adds a module after its dependencies.
func (p *plan) addFile(name string, f depmod.Module, soft bool) {
	for _, dep := range slices.Backward(f.Deps) {
		p.add(depmod.Name(dep), soft)
	}
	path := f.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.db.dir, path)
	}
	p.steps = append(p.steps, Load{Name: name, File: path, Params: p.db.config.Options[name], Soft: soft})
}

// addSoft adds soft dependencies, which are names or aliases.
func (p *plan) addSoft(aliases []string) {
	for _, alias := range aliases {
		for _, name := range p.db.Resolve(alias) {
			p.add(name, true)
		}
	}
}

// softdeps returns the soft dependencies of a module: those of modprobe.d, else its own.
func (db *DB) softdeps(name string) depmod.Soft {
	if s, ok := db.config.soft[name]; ok {
		return s
	}
	return db.soft[name]
}
