package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/readfile"
)

// sizeLimit bounds a file of a bundle, which usually has some tens of KiB.
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
	b.runtimeText, err = readJSON(runtime, &b.Runtime)
	if errors.Is(err, fs.ErrNotExist) {
		b.runtimeText = []byte("{}")
	} else if err != nil {
		return nil, err
	}
	if err := checkRuntime(runtime, &b.Runtime); err != nil {
		return nil, err
	}
	b.Settings, b.Warnings = ParseSettings(b.Spec.Annotations)
	b.Warnings = append(b.Warnings, b.CheckTogether()...)
	if err := b.isolate(config); err != nil {
		return nil, err
	}
	return b, nil
}

// isolate applies the settings that isolate the container and that Edited adds to
// config.json. It returns an error for one that cannot be applied: without it the container
// would have more privileges than its author expects, or not those that it needs.
func (b *Bundle) isolate(path string) error {
	for _, warning := range b.Warnings {
		var bad *SettingError
		if errors.As(warning, &bad) && (bad.Key == SettingsPrefix+"userns" || bad.Key == SettingsPrefix+"capabilities") {
			return fieldError(path, "annotations."+bad.Key, bad.Value, bad.Reason)
		}
	}
	if b.OwnUsers() {
		if field, value, why := refuseUsers(b.Spec); why != "" {
			return fieldError(path, field, value, why)
		}
	}
	if b.Settings.Delegate {
		if field, value, why := refuseDelegation(b.Spec); why != "" {
			return fieldError(path, field, value, why)
		}
	}
	b.ApplyCapabilities()
	return nil
}

// List returns the names of the bundle directories in dir, sorted; none when dir does
// not exist.
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

// readJSON decodes the file at path into v, and returns its text.
func readJSON(path string, v any) ([]byte, error) {
	data, err := readfile.Limited(path, sizeLimit)
	if err != nil {
		return nil, err
	}
	return data, decode(path, data, v)
}
