package ocispec

import (
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/testvm/image/config"
)

// Version is the version of the specification in config.json, the same as the linuxkit
// CLI's: runtimes refuse versions newer than their own, and no newer feature is used.
const Version = "1.2.1"

// StopSignalAnnotation holds an image's stop signal (conversion.md of the OCI image
// specification).
const StopSignalAnnotation = "org.opencontainers.image.stopSignal"

// Label is the image label that holds defaults for a container.
const Label = "org.mobyproject.config"

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
	return &specs.Process{
		User:            user,
		Args:            list(y.Command, l.Command, slices.Concat(c.Image.Entrypoint, c.Image.Cmd)),
		Env:             list(y.Env, l.Env, c.Image.Env),
		Cwd:             first(y.Cwd, l.Cwd, c.Image.WorkingDir, "/"),
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

func (c *Container) annotations() map[string]string {
	given := dict(c.YAML.Annotations, c.Label.Annotations)
	if c.Image.StopSignal == "" || given[StopSignalAnnotation] != "" {
		return given
	}
	out := map[string]string{StopSignalAnnotation: c.Image.StopSignal}
	for k, v := range given {
		out[k] = v
	}
	return out
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
