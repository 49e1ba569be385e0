package bundle

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/imageconfig"
)

// rootDir is the root in a bundle whose root is a folder.
const rootDir = "rootfs"

// ImageFields returns the values of the fields that an image can give.
func (b *Bundle) ImageFields() imageconfig.Fields {
	return imageconfig.Fields{
		Command: b.Spec.Process.Args, Env: b.Spec.Process.Env, Cwd: b.Spec.Process.Cwd,
		StopSignal: b.Spec.Annotations[imageconfig.StopSignalKey],
	}
}

// ForImage returns config.json and runtime.json of the same container with another image,
// whose fields and root replace those of the bundle. The root is the folder rootfs of the
// bundle in which the files will be. All other settings stay as they are, also those that
// this program does not know and a runtime may.
//
// The mounts by which runtime.json makes the root in the bundle's own folder are left out.
// It is an error if anything else needs that folder.
func (b *Bundle) ForImage(f imageconfig.Fields) (config, runtime []byte, err error) {
	if err := b.needsItself(); err != nil {
		return nil, nil, err
	}
	if config, err = b.configForImage(f); err != nil {
		return nil, nil, fmt.Errorf("cannot change %s: %w", filepath.Join(b.Dir, ConfigFile), err)
	}
	if runtime, err = b.runtimeWithoutRoot(); err != nil {
		return nil, nil, fmt.Errorf("cannot change %s: %w", filepath.Join(b.Dir, RuntimeFile), err)
	}
	return config, runtime, nil
}

func (b *Bundle) configForImage(f imageconfig.Fields) ([]byte, error) {
	var top, root, process object
	if err := json.Unmarshal(b.text, &top); err != nil {
		return nil, err
	}
	if err := top.object("root", b.Spec.Root, &root); err != nil {
		return nil, err
	}
	if err := top.object("process", b.Spec.Process, &process); err != nil {
		return nil, err
	}
	annotations := maps.Clone(b.Spec.Annotations)
	delete(annotations, imageconfig.StopSignalKey)
	if f.StopSignal != "" {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[imageconfig.StopSignalKey] = f.StopSignal
	}
	err := apply([]change{
		{root, "path", rootDir, true},
		{process, "args", f.Command, true},
		{process, "env", append([]string{}, f.Env...), true},
		{process, "cwd", f.Cwd, true},
		{top, "annotations", annotations, !maps.Equal(annotations, b.Spec.Annotations)},
		{top, "root", root, true},
		{top, "process", process, true},
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(top)
}

// runtimeWithoutRoot returns runtime.json without the mounts that make the root.
func (b *Bundle) runtimeWithoutRoot() ([]byte, error) {
	var top object
	if err := json.Unmarshal(b.runtimeText, &top); err != nil || top == nil {
		return []byte("{}"), err
	}
	mounts := slices.DeleteFunc(slices.Clone(b.Runtime.Mounts), b.makesRoot)
	if len(mounts) < len(b.Runtime.Mounts) {
		if err := top.set("mounts", append([]Mount{}, mounts...)); err != nil {
			return nil, err
		}
	}
	return json.Marshal(top)
}

// makesRoot reports whether a mount of runtime.json is one of those that make the root of an
// image's bundle: on a folder in that of the bundle.
func (b *Bundle) makesRoot(m Mount) bool { return filepath.Dir(filepath.Clean(m.Destination)) == b.Dir }

// needsItself returns an error if the container uses files of its bundle's folder, other than
// by the mounts that make the root.
func (b *Bundle) needsItself() error {
	config, runtime := filepath.Join(b.Dir, ConfigFile), filepath.Join(b.Dir, RuntimeFile)
	const why = "%s: mounts[%d]: %s is in the folder of the bundle, which the bundle of a container image does not have"
	for i, m := range b.Spec.Mounts {
		if IsBind(m) && (relativeBind(m) || b.has(m.Source)) {
			return fmt.Errorf(why, config, i, m.Source)
		}
	}
	for i, m := range b.Runtime.Mounts {
		if b.makesRoot(m) {
			continue
		}
		for _, path := range []string{m.Source, m.Destination} {
			if b.has(path) {
				return fmt.Errorf(why, runtime, i, path)
			}
		}
		for _, option := range m.EachOption() {
			if strings.Contains(option, b.Dir+"/") {
				return fmt.Errorf(why, runtime, i, option)
			}
		}
	}
	return nil
}

// has reports whether a path is in the folder of the bundle.
func (b *Bundle) has(path string) bool {
	path = filepath.Clean(path)
	return path == b.Dir || strings.HasPrefix(path, b.Dir+"/")
}

// MapsUsers reports whether the container has a user namespace in which users or groups have
// other IDs than on the machine.
func (b *Bundle) MapsUsers() bool {
	other := func(m specs.LinuxIDMapping) bool { return m.ContainerID != m.HostID }
	return b.Spec.Linux != nil && (slices.ContainsFunc(b.Spec.Linux.UIDMappings, other) || slices.ContainsFunc(b.Spec.Linux.GIDMappings, other))
}
