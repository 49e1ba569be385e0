package ocispec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/imageconfig"
	"keelson/testvm/image/config"
)

// Version is the version of the specification in config.json, the same as the linuxkit
// CLI's: runtimes refuse versions newer than their own, and no newer feature is used.
const Version = "1.2.1"

// FieldError is returned for a value that cannot be used.
type FieldError struct {
	Field string // relative to the container, such as binds[1]
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

func fieldErrorf(field, format string, args ...any) error {
	return &FieldError{field, fmt.Errorf(format, args...)}
}

// Container holds everything that a container is made from.
type Container struct {
	YAML    config.ImageConfig
	Label   config.ImageConfig
	Image   v1.Config
	IDs     map[string]uint32        // IDs of containers by name
	Volumes map[string]config.Volume // by name
	Service bool                     // it can be swapped on a running machine
}

// Spec makes the runtime specification. Validate reports what the runtime refuses.
func Spec(c Container) (*specs.Spec, error) {
	y, l := &c.YAML, &c.Label
	readonly := deref(first(y.Readonly, l.Readonly))
	mounts, err := c.mounts(readonly)
	if err != nil {
		return nil, err
	}
	process, err := c.process()
	if err != nil {
		return nil, err
	}
	linux, err := c.linux()
	if err != nil {
		return nil, err
	}
	return &specs.Spec{
		Version:     Version,
		Process:     process,
		Root:        &specs.Root{Path: "rootfs", Readonly: readonly},
		Hostname:    first(y.Hostname, l.Hostname),
		Mounts:      mounts,
		Annotations: c.annotations(),
		Linux:       linux,
	}, nil
}

func (c *Container) process() (*specs.Process, error) {
	y, l := &c.YAML, &c.Label
	user, err := c.user()
	if err != nil {
		return nil, err
	}
	caps, err := c.capabilities()
	if err != nil {
		return nil, err
	}
	limits, err := rlimits(list(y.Rlimits, l.Rlimits))
	if err != nil {
		return nil, err
	}
	merged := c.merged()
	return &specs.Process{
		User:            user,
		Args:            merged.Command,
		Env:             merged.Env,
		Cwd:             merged.Cwd,
		Capabilities:    caps,
		Rlimits:         limits,
		NoNewPrivileges: deref(first(y.NoNewPrivileges, l.NoNewPrivileges)),
		OOMScoreAdj:     first(y.OOMScoreAdj, l.OOMScoreAdj),
	}, nil
}

func (c *Container) user() (u specs.User, err error) {
	y, l := &c.YAML, &c.Label
	if u.UID, err = first(y.UID, l.UID).Number(c.IDs); err != nil {
		return u, &FieldError{"uid", err}
	}
	if u.GID, err = first(y.GID, l.GID).Number(c.IDs); err != nil {
		return u, &FieldError{"gid", err}
	}
	for i, id := range list(y.AdditionalGids, l.AdditionalGids) {
		gid, err := id.Number(c.IDs)
		if err != nil {
			return u, &FieldError{fmt.Sprintf("additionalGids[%d]", i), err}
		}
		u.AdditionalGids = append(u.AdditionalGids, gid)
	}
	return u, nil
}

func (c *Container) linux() (*specs.Linux, error) {
	y, l := &c.YAML, &c.Label
	resources := first(y.Resources, l.Resources).OCI()
	devices, allowed, err := devices(list(y.Devices, l.Devices))
	if err != nil {
		return nil, err
	}
	resources.Devices = slices.Concat(resources.Devices, allowed)
	return &specs.Linux{
		UIDMappings:       list(y.UIDMappings, l.UIDMappings),
		GIDMappings:       list(y.GIDMappings, l.GIDMappings),
		Sysctl:            dict(y.Sysctl, l.Sysctl),
		Resources:         &resources,
		CgroupsPath:       deref(first(y.CgroupsPath, l.CgroupsPath)),
		Namespaces:        c.namespaces(),
		Devices:           devices,
		RootfsPropagation: deref(first(y.RootfsPropagation, l.RootfsPropagation)),
		MaskedPaths:       list(y.MaskedPaths, l.MaskedPaths),
		ReadonlyPaths:     list(y.ReadonlyPaths, l.ReadonlyPaths),
	}, nil
}

// merged returns the fields that an image can give.
func (c *Container) merged() imageconfig.Fields {
	image := imageconfig.Image{
		Entrypoint: c.Image.Entrypoint, Cmd: c.Image.Cmd, Env: c.Image.Env,
		WorkingDir: c.Image.WorkingDir, StopSignal: c.Image.StopSignal,
	}
	label := fieldsOf(&c.Label)
	if c.YAML.Annotations != nil { // They replace all of the label.
		label.StopSignal = ""
	}
	return imageconfig.Merge(fieldsOf(&c.YAML), label, image.Fields())
}

func fieldsOf(c *config.ImageConfig) imageconfig.Fields {
	return imageconfig.Fields{Command: c.Command, Env: c.Env, Cwd: c.Cwd, StopSignal: c.Annotations[imageconfig.StopSignalKey]}
}

// annotations returns those given, the image's stop signal, and for a service what a machine
// has to keep when it swaps the image.
func (c *Container) annotations() map[string]string {
	given := dict(c.YAML.Annotations, c.Label.Annotations)
	more := map[string]string{}
	if signal := c.merged().StopSignal; signal != "" {
		more[imageconfig.StopSignalKey] = signal
	}
	if keep := fieldsOf(&c.YAML).Set(); c.Service && len(keep) > 0 {
		more[bundle.SwapKeepKey] = strings.Join(keep, ",")
	}
	maps.Copy(more, given)
	if len(more) == len(given) {
		return given
	}
	return more
}

// namespaces returns the namespaces that are made or joined. By default a container
// shares the network, IPC and UTS namespaces of the system, and has its own PID and
// mount namespaces.
func (c *Container) namespaces() (out []specs.LinuxNamespace) {
	y, l := &c.YAML, &c.Label
	for _, ns := range []struct {
		kind specs.LinuxNamespaceType
		want string
	}{
		{specs.NetworkNamespace, first(y.Net, l.Net, "host")},
		{specs.IPCNamespace, first(y.IPC, l.IPC, "host")},
		{specs.UTSNamespace, first(y.UTS, l.UTS, "host")},
		{specs.PIDNamespace, first(y.PID, l.PID, "new")},
		{specs.UserNamespace, first(y.Userns, l.Userns, "host")},
		{specs.MountNamespace, "new"},
	} {
		switch {
		case ns.want == "host" || ns.want == "root":
		case ns.want == "new" || ns.want == "none" && ns.kind == specs.NetworkNamespace:
			out = append(out, specs.LinuxNamespace{Type: ns.kind})
		default:
			out = append(out, specs.LinuxNamespace{Type: ns.kind, Path: ns.want})
		}
	}
	return out
}

// first returns the first value that is not nil.
func first[T comparable](values ...T) (zero T) {
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

// list returns the first list that is not nil.
func list[T any](lists ...[]T) []T {
	for _, l := range lists {
		if l != nil {
			return l
		}
	}
	return nil
}

// dict returns the first map that is not nil.
func dict(maps ...map[string]string) map[string]string {
	for _, m := range maps {
		if m != nil {
			return m
		}
	}
	return nil
}

func deref[T any](p *T) (zero T) {
	if p == nil {
		return zero
	}
	return *p
}
