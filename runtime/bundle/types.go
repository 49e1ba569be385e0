package bundle

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	Warnings []error // about settings that are ignored
	FirstID  uint32  // first of the machine's user and group IDs that the container has with UsernsAuto; 0: not assigned
	Image    *Image  // the root as a file system; nil: the root is a folder

	text        []byte // of config.json
	runtimeText []byte // of runtime.json
}

// Image is a root as an erofs image that is followed by a dm-verity hash tree. It is mounted
// before the mounts of Runtime.
type Image struct {
	File       string // path of the image
	Target     string // mount point, in the bundle
	Name       string // identifies the version of the service
	RootHash   string // in hexadecimal
	HashOffset int64  // of the superblock of the hash tree, in bytes
	Blocks     int64  // of data, as mounts.Verity has it
	Salt       string // in hexadecimal

	// Source returns the open file that has the image, and where in it, as long as File does not have it
	// yet; then nil. It may be nil.
	Source func() (file *os.File, offset int64)
}

// JSON returns the text of config.json and of runtime.json as Load read it, with fields
// that this program does not know; {} for a file that the bundle does not have. A bundle
// that was not read from files is encoded.
func (b *Bundle) JSON() (config, runtime []byte, err error) {
	if b.text != nil {
		return b.text, b.runtimeText, nil
	}
	if config, err = json.Marshal(b.Spec); err != nil {
		return nil, nil, fmt.Errorf("cannot encode %s: %w", ConfigFile, err)
	}
	if runtime, err = json.Marshal(b.Runtime); err != nil {
		return nil, nil, fmt.Errorf("cannot encode %s: %w", RuntimeFile, err)
	}
	return config, runtime, nil
}

// Rootfs returns the absolute path of the root filesystem.
func (b *Bundle) Rootfs() string {
	if b.Spec == nil || b.Spec.Root == nil {
		return filepath.Join(b.Dir, "rootfs")
	}
	if filepath.IsAbs(b.Spec.Root.Path) {
		return filepath.Clean(b.Spec.Root.Path)
	}
	return filepath.Join(b.Dir, b.Spec.Root.Path)
}

// Namespace returns the containerd namespace of the service.
func (b *Bundle) Namespace() string {
	if b.Runtime.Namespace != "" {
		return b.Runtime.Namespace
	}
	return DefaultNamespace
}

// Runtime is runtime.json: the preparations for a container in the root namespace. The
// order is cgroups, mounts, mkdir, create, interfaces, bindNS, start.
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

// EachOption returns the options one by one; an element of Options may hold several,
// separated by commas.
func (m Mount) EachOption() []string {
	var all []string
	for _, o := range m.Options {
		all = append(all, strings.Split(o, ",")...)
	}
	return all
}

// HasOption reports whether m has one of the options.
func (m Mount) HasOption(names ...string) bool {
	return slices.ContainsFunc(m.EachOption(), func(o string) bool { return slices.Contains(names, o) })
}

// Option returns the value of the last option NAME=VALUE, or "".
func (m Mount) Option(name string) (value string) {
	for _, o := range m.EachOption() {
		if v, ok := strings.CutPrefix(o, name+"="); ok {
			value = v
		}
	}
	return value
}

// IsBind reports whether m is a bind mount, recursive or not.
func (m Mount) IsBind() bool {
	return m.Type == "bind" || m.Type == "rbind" || m.HasOption("bind", "rbind")
}

// Interface is a network interface of the container's network namespace.
type Interface struct {
	Name         string `json:"name,omitempty"`
	Add          string `json:"add,omitempty"`  // type of the link to create; empty: move an existing one
	Peer         string `json:"peer,omitempty"` // other end of a veth, which stays in the root namespace
	CreateInRoot bool   `json:"createInRoot"`   // create it in the root namespace, then move it
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

// Paths returns the non-empty paths with the namespaces' names in /proc/PID/ns, in a
// fixed order.
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
