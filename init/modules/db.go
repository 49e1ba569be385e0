package modules

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// DB is what depmod knows about the modules of one kernel.
type DB struct {
	dir     string
	files   map[string]file
	aliases map[string][]Alias // by bus
	soft    map[string]Soft
	builtin map[string]bool
	config  Config
}

// ErrNone is that of a system without a folder of modules for its kernel.
var ErrNone = errors.New("no modules for this kernel")

// Open reads the database of kernel release from the first of roots, such as
// /lib/modules, that has it, and the configuration in confDirs.
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
	db := &DB{dir: dir, aliases: make(map[string][]Alias), config: newConfig()}
	var aliases []Alias
	err := errors.Join(
		with(filepath.Join(dir, "modules.dep"), true, func(r io.Reader) (err error) { db.files, err = parseDep(r); return }),
		with(filepath.Join(dir, "modules.alias"), false, func(r io.Reader) (err error) { aliases, err = parseAlias(r); return }),
		with(filepath.Join(dir, "modules.softdep"), false, func(r io.Reader) (err error) { db.soft, err = parseSoftdep(r); return }),
		with(filepath.Join(dir, "modules.builtin"), false, func(r io.Reader) (err error) { db.builtin, err = parseBuiltin(r); return }),
	)
	for _, a := range aliases {
		kind := bus(a.Pattern)
		db.aliases[kind] = append(db.aliases[kind], a)
	}
	for _, d := range confDirs {
		names, _ := filepath.Glob(filepath.Join(d, "*.conf"))
		for _, name := range names {
			err = errors.Join(err, with(name, false, db.config.parse))
		}
	}
	return db, err
}

// with reads the file called name; a missing one is fine unless required.
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

// Config is for adding to what modprobe.d says.
func (db *DB) Config() *Config { return &db.config }

// Resolve names the modules for a module's name or an alias. Blacklisted ones
// are left out when they come by an alias, as in modprobe.
func (db *DB) Resolve(alias string) []string {
	if name := normal(alias); db.builtin[name] || db.files[name].path != "" {
		return []string{name}
	}
	var names []string
	for _, kind := range slices.Compact([]string{bus(alias), ""}) {
		for _, a := range db.aliases[kind] {
			if !db.config.Blacklist[a.Module] && !slices.Contains(names, a.Module) && match(a.Pattern, alias) {
				names = append(names, a.Module)
			}
		}
	}
	return names
}

// Step is a module to insert.
type Step struct {
	Name   string
	File   string
	Params []string
	Soft   bool // wanted, not needed: may fail
}

// Plan lists what to insert, in order, to have module name: soft
// dependencies that come before, dependencies, itself, and those that come
// after. What is built in or loaded already is left out.
func (db *DB) Plan(name string, loaded map[string]bool) []Step {
	p := plan{db: db, seen: make(map[string]bool)}
	for l := range loaded {
		p.seen[l] = true
	}
	p.add(normal(name), false)
	return p.steps
}

type plan struct {
	db    *DB
	seen  map[string]bool
	steps []Step
}

func (p *plan) add(name string, soft bool) {
	f, ok := p.db.files[name]
	if p.seen[name] || p.db.builtin[name] || !ok {
		return
	}
	p.seen[name] = true // Before its dependencies: soft ones may go round.
	for _, pre := range p.db.soft[name].Pre {
		p.add(pre, true)
	}
	for _, dep := range slices.Backward(f.deps) {
		p.add(Name(dep), soft)
	}
	path := f.path
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.db.dir, path)
	}
	p.steps = append(p.steps, Step{Name: name, File: path, Params: p.db.config.Options[name], Soft: soft})
	for _, post := range p.db.soft[name].Post {
		p.add(post, true)
	}
}
