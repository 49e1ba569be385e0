package bundle

import (
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Names of the files in a bundle.
const (
	ConfigFile  = "config.json"
	RuntimeFile = "runtime.json"
)

// Where an image keeps its bundles.
const (
	OnbootDir     = "/containers/onboot"
	OnshutdownDir = "/containers/onshutdown"
	ServicesDir   = "/containers/services"
)

// DefaultNamespace is the containerd namespace of a service whose
// runtime.json names none.
const DefaultNamespace = "services.linuxkit"

// Bundle is one container of an image.
type Bundle struct {
	Dir      string // absolute path
	Name     string // last element of Dir
	Spec     *specs.Spec
	Runtime  Runtime
	Settings Settings
	Warnings []error // settings that were not understood

	text []byte // of config.json
}

// Rootfs is the absolute path of the root filesystem.
func (b *Bundle) Rootfs() string {
	if b.Spec == nil || b.Spec.Root == nil {
		return filepath.Join(b.Dir, "rootfs")
	}
	if filepath.IsAbs(b.Spec.Root.Path) {
		return filepath.Clean(b.Spec.Root.Path)
	}
	return filepath.Join(b.Dir, b.Spec.Root.Path)
}

// Namespace is the containerd namespace of the service.
func (b *Bundle) Namespace() string {
	if b.Runtime.Namespace != "" {
		return b.Runtime.Namespace
	}
	return DefaultNamespace
}

// Runtime is runtime.json: what is done in the root namespace around a
// container, in the order cgroups, mounts, mkdir, create, interfaces, bindNS,
// start.
type Runtime struct {
	Cgroups    []string    `json:"cgroups"`
	Mounts     []Mount     `json:"mounts"`
	Mkdir      []string    `json:"mkdir"`
	Interfaces []Interface `json:"interfaces"`
	BindNS     Namespaces  `json:"bindNS"`
	Namespace  string      `json:"namespace"`
}

// Mount is a mount of the root namespace; a relative destination is below
// the bundle's root filesystem.
type Mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type,omitempty"`
	Source      string   `json:"source,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// Interface is a network interface of the container's network namespace.
type Interface struct {
	Name         string `json:"name,omitempty"`
	Add          string `json:"add,omitempty"`  // link type to make; empty: move Name in
	Peer         string `json:"peer,omitempty"` // other end of a veth, stays outside
	CreateInRoot bool   `json:"createInRoot"`   // make it outside, then move it in
}

// Namespaces holds, for each namespace, the path to bind it at.
type Namespaces struct {
	Cgroup string `json:"cgroup"`
	Ipc    string `json:"ipc"`
	Mnt    string `json:"mnt"`
	Net    string `json:"net"`
	Pid    string `json:"pid"`
	User   string `json:"user"`
	Uts    string `json:"uts"`
}

// Paths gives the non-empty paths by the namespace's name in /proc/PID/ns,
// in a fixed order.
func (n Namespaces) Paths() []NamespacePath {
	all := []NamespacePath{
		{"cgroup", n.Cgroup}, {"ipc", n.Ipc}, {"mnt", n.Mnt}, {"net", n.Net},
		{"pid", n.Pid}, {"user", n.User}, {"uts", n.Uts},
	}
	set := all[:0]
	for _, p := range all {
		if p.Path != "" {
			set = append(set, p)
		}
	}
	return set
}

// NamespacePath says where one namespace is bound.
type NamespacePath struct{ Name, Path string }
