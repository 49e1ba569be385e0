package ocispec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/testvm/image/config"
)

// VolumeDir is the folder where the files of a volume are mounted.
func VolumeDir(name string) string { return "/containers/volumes/" + name + "/merged" }

// mounts returns the mounts sorted by destination, parents first.
func (c *Container) mounts(readonly bool) ([]specs.Mount, error) {
	at := map[string]specs.Mount{}
	for _, m := range standardMounts(readonly) {
		at[m.Destination] = m
	}
	for _, add := range []func(map[string]specs.Mount) error{c.addTmpfs, c.addBinds, c.addMounts} {
		if err := add(at); err != nil {
			return nil, err
		}
	}
	var out []specs.Mount
	for _, dest := range slices.Sorted(maps.Keys(at)) {
		out = append(out, at[dest])
	}
	return out, nil
}

// standardMounts returns the mounts of every container. Mounts of the container with
// the same destination replace them.
func standardMounts(readonly bool) []specs.Mount {
	dev := []string{"nosuid", "strictatime", "mode=755", "size=65536k"}
	sys := []string{"nosuid", "noexec", "nodev"}
	if readonly {
		dev, sys = append(dev, "ro"), append(sys, "ro")
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec", "relatime"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: dev},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: sys},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
	}
}

func (c *Container) addTmpfs(at map[string]specs.Mount) error {
	for i, t := range list(c.YAML.Tmpfs, c.Label.Tmpfs) {
		dest, options, given := strings.Cut(t, ":")
		if strings.Contains(options, ":") {
			return fieldErrorf(fmt.Sprintf("tmpfs[%d]", i), "%q is not DESTINATION or DESTINATION:OPTIONS", t)
		}
		m := specs.Mount{Destination: dest, Type: "tmpfs", Source: "tmpfs"}
		if given {
			m.Options = strings.Split(options, ",")
		}
		at[dest] = m
	}
	return nil
}

func (c *Container) addBinds(at map[string]specs.Mount) error {
	binds := list(c.YAML.Binds, union(c.Label.Binds, c.YAML.BindsAdd))
	for i, b := range binds {
		where := "binds.add"
		if c.YAML.Binds != nil {
			where = fmt.Sprintf("binds[%d]", i)
		}
		parts := strings.Split(b, ":")
		if len(parts) < 2 || len(parts) > 3 {
			return fieldErrorf(where, "%q is not SOURCE:DESTINATION or SOURCE:DESTINATION:OPTIONS", b)
		}
		options := []string{"rw", "rbind", "rshared"}
		if len(parts) == 3 {
			options = append(strings.Split(parts[2], ","), "rbind")
		}
		m, err := c.bind(specs.Mount{Destination: parts[1], Type: "bind", Source: parts[0], Options: options})
		if err != nil {
			return &FieldError{where, err}
		}
		at[m.Destination] = m
	}
	return nil
}

// bind replaces the name of a volume by its directory.
func (c *Container) bind(m specs.Mount) (specs.Mount, error) {
	if m.Type != "bind" || strings.HasPrefix(m.Source, "/") {
		return m, nil
	}
	v, ok := c.Volumes[m.Source]
	if !ok {
		return m, fmt.Errorf("no volume is named %q (a path starts with a slash)", m.Source)
	}
	if v.ReadOnly && !slices.Contains(m.Options, "ro") {
		return m, fmt.Errorf("volume %s is read-only: the option ro is missing", v.Name)
	}
	m.Source = VolumeDir(v.Name)
	return m, nil
}

// pseudo are the file systems whose type may be omitted if the source names it, and
// whose destination may be omitted too.
var pseudo = map[string]string{
	"proc": "/proc", "devpts": "/dev/pts", "sysfs": "/sys", "cgroup": "/sys/fs/cgroup", "mqueue": "/dev/mqueue",
}

func (c *Container) addMounts(at map[string]specs.Mount) error {
	for i, m := range list(c.YAML.Mounts, c.Label.Mounts) {
		where := fmt.Sprintf("mounts[%d]", i)
		if _, ok := pseudo[m.Source]; m.Type == "" && ok {
			m.Type = m.Source
		}
		if m.Type == "" && m.Destination == "/dev" {
			m.Type = "tmpfs"
		}
		m.Source = first(m.Source, m.Type)
		m.Destination = first(m.Destination, pseudo[m.Type])
		if m.Type == "" || m.Destination == "" {
			return fieldErrorf(where, "type or destination is missing")
		}
		m, err := c.bind(m)
		if err != nil {
			return &FieldError{where, err}
		}
		at[m.Destination] = m
	}
	return nil
}

// Volumes returns a file's volumes by name.
func Volumes(volumes []config.Volume) map[string]config.Volume {
	out := map[string]config.Volume{}
	for _, v := range volumes {
		out[v.Name] = v
	}
	return out
}
