package ocispec

import (
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/testvm/image/config"
)

// Runtime makes runtime.json, except the mounts of RootMounts.
func Runtime(c Container) (bundle.Runtime, error) {
	y, l := deref(c.YAML.Runtime), deref(c.Label.Runtime)
	r := bundle.Runtime{
		Cgroups:    notNil(list(y.Cgroups, l.Cgroups)),
		Mounts:     []bundle.Mount{},
		Mkdir:      notNil(list(y.Mkdir, l.Mkdir)),
		Interfaces: interfaces(list(y.Interfaces, l.Interfaces)),
		BindNS:     bindNS(y.BindNS, l.BindNS),
		Namespace:  deref(first(y.Namespace, l.Namespace)),
	}
	for _, m := range list(y.Mounts, l.Mounts) {
		if m.Destination == "" {
			return r, fieldErrorf("runtime.mounts", "a destination is missing")
		}
		r.Mounts = append(r.Mounts, mount(m))
	}
	return r, nil
}

func mount(m specs.Mount) bundle.Mount {
	return bundle.Mount{Destination: m.Destination, Type: m.Type, Source: m.Source, Options: m.Options}
}

// RootMounts returns the mounts of runtime.json that make the rootfs of the bundle
// in dir, a path without leading slash: a bind for a read-only container, because
// runtimes want a mount point, and an overlay on a tmpfs of its own for a writable
// one. root is the folder of the image's files: the bundle's own rootfs or lower, or
// that of another bundle made from the same image.
func RootMounts(dir, root string, readonly bool) []bundle.Mount {
	rootfs, tmp := "/"+path.Join(dir, "rootfs"), "/"+path.Join(dir, "tmp")
	if readonly {
		return []bundle.Mount{{Destination: rootfs, Source: "/" + root, Options: []string{"bind"}}}
	}
	return []bundle.Mount{
		{Destination: tmp, Type: "tmpfs", Source: "tmpfs"},
		{Destination: tmp, Options: []string{"remount", "private"}},
		{Destination: rootfs, Type: "overlay", Source: "overlay", Options: []string{
			"lowerdir=/" + root, "upperdir=" + tmp + "/upper", "workdir=" + tmp + "/work",
		}},
	}
}

func interfaces(in []config.Interface) []bundle.Interface {
	out := []bundle.Interface{}
	for _, i := range in {
		out = append(out, bundle.Interface{Name: i.Name, Add: i.Add, Peer: i.Peer, CreateInRoot: i.CreateInRoot})
	}
	return out
}

func bindNS(y, l config.Namespaces) bundle.Namespaces {
	return bundle.Namespaces{
		Cgroup: deref(first(y.Cgroup, l.Cgroup)),
		Ipc:    deref(first(y.IPC, l.IPC)),
		Mnt:    deref(first(y.Mnt, l.Mnt)),
		Net:    deref(first(y.Net, l.Net)),
		Pid:    deref(first(y.PID, l.PID)),
		User:   deref(first(y.User, l.User)),
		Uts:    deref(first(y.UTS, l.UTS)),
	}
}

// notNil returns an empty list for nil, because runtime.json has no nulls.
func notNil(s []string) []string { return append([]string{}, s...) }
