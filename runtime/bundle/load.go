package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// sizeLimit bounds a file of a bundle. Real ones have some tens of KiB.
const sizeLimit = 4 << 20

// Load reads the bundle in dir.
func Load(dir string) (*Bundle, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot load bundle %s: %w", dir, err)
	}
	b := &Bundle{Dir: dir, Name: filepath.Base(dir), Spec: &specs.Spec{}}
	config := filepath.Join(dir, ConfigFile)
	if b.text, err = readJSON(config, b.Spec); err != nil {
		return nil, err
	}
	if err := checkSpec(config, b.Spec); err != nil {
		return nil, err
	}
	runtime := filepath.Join(dir, RuntimeFile)
	_, err = readJSON(runtime, &b.Runtime)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := checkRuntime(runtime, &b.Runtime); err != nil {
		return nil, err
	}
	b.Settings, b.Warnings = ParseSettings(b.Spec.Annotations)
	return b, nil
}

// List gives the names of the bundle directories in dir, sorted. A directory
// that is missing holds none.
func List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list bundles: %w", err)
	}
	var names []string
	for _, entry := range entries { // ReadDir sorts
		info, err := os.Stat(filepath.Join(dir, entry.Name()))
		if err == nil && info.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// readJSON reads the file at path into v, and returns its text.
func readJSON(path string, v any) ([]byte, error) {
	// O_NONBLOCK: a fifo in place of the file must not hold up the boot.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot read bundle: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("cannot read %s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, sizeLimit+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	if len(data) > sizeLimit {
		return nil, fmt.Errorf("cannot read %s: larger than %d MiB", path, sizeLimit>>20)
	}
	return data, decode(path, data, v)
}

func fieldError(path, field string, value any, why string) error {
	return fmt.Errorf("%s: field %s: bad value %q: %s", path, field, fmt.Sprint(value), why)
}

// checkSpec looks at what keelson itself needs; the runtime checks the rest.
func checkSpec(path string, s *specs.Spec) error {
	switch {
	case s.Root == nil || s.Root.Path == "":
		return fieldError(path, "root.path", "", "a root filesystem is needed")
	case s.Process == nil || len(s.Process.Args) == 0:
		return fieldError(path, "process.args", "[]", "a command is needed")
	}
	return nil
}

// namespaceName is what containerd takes as the name of a namespace.
var namespaceName = regexp.MustCompile(`^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$`)

func checkRuntime(path string, r *Runtime) error {
	for i, m := range r.Mounts {
		if m.Destination == "" {
			return fieldError(path, fmt.Sprintf("mounts[%d].destination", i), "", "a path is needed")
		}
	}
	for i, dir := range r.Mkdir {
		if dir == "" {
			return fieldError(path, fmt.Sprintf("mkdir[%d]", i), dir, "a path is needed")
		}
	}
	for i, cgroup := range r.Cgroups {
		if clean := filepath.Join("/", cgroup); clean == "/" {
			return fieldError(path, fmt.Sprintf("cgroups[%d]", i), cgroup, "a path below the root cgroup is needed")
		}
	}
	for i, link := range r.Interfaces {
		if link.Name == "" {
			return fieldError(path, fmt.Sprintf("interfaces[%d].name", i), "", "a name is needed")
		}
	}
	for _, ns := range r.BindNS.Paths() {
		if !filepath.IsAbs(ns.Path) {
			return fieldError(path, "bindNS."+ns.Name, ns.Path, "an absolute path is needed")
		}
	}
	if r.Namespace != "" && (len(r.Namespace) > 76 || !namespaceName.MatchString(r.Namespace)) {
		return fieldError(path, "namespace", r.Namespace, "not a name containerd takes")
	}
	return nil
}
