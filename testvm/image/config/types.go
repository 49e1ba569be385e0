package config

import (
	"fmt"
	"math"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Config is a whole YAML file.
type Config struct {
	Kernel     Kernel   `yaml:"kernel"`
	Init       []string `yaml:"init"`
	Onboot     []Image  `yaml:"onboot"`
	Onshutdown []Image  `yaml:"onshutdown"`
	Services   []Image  `yaml:"services"`
	Files      []File   `yaml:"files"`
	Volumes    []Volume `yaml:"volumes"`
}

// Kernel says which kernel boots the image.
type Kernel struct {
	Image   string `yaml:"image"`
	Cmdline string `yaml:"cmdline"`
	// Binary is the kernel's file in an image, "kernel" by default.
	Binary string `yaml:"binary"`
	// Tar is the archive in an image that is unpacked to the root, "kernel.tar"
	// by default, "none" for none.
	Tar *string `yaml:"tar"`
	// UCode is an uncompressed cpio archive in the image; it precedes the initrd.
	UCode *string `yaml:"ucode"`
	// Modules names the modules taken from a deb: kernel; nil is the default set.
	Modules []string `yaml:"modules"`
}

// File is one entry of files.
type File struct {
	Path      string  `yaml:"path"`
	Directory bool    `yaml:"directory"`
	Symlink   string  `yaml:"symlink"`
	Contents  *string `yaml:"contents"`
	Source    string  `yaml:"source"`
	Metadata  string  `yaml:"metadata"`
	Optional  bool    `yaml:"optional"`
	Mode      string  `yaml:"mode"`
	UID       *ID     `yaml:"uid"`
	GID       *ID     `yaml:"gid"`
}

// Volume is one entry of volumes.
type Volume struct {
	Name      string   `yaml:"name"`
	Image     string   `yaml:"image"`
	ReadOnly  bool     `yaml:"readonly"`
	Format    string   `yaml:"format"`
	Platforms []string `yaml:"platforms"`
}

// Image is one container.
type Image struct {
	Name        string `yaml:"name"`
	Image       string `yaml:"image"`
	ImageConfig `yaml:",inline"`
}

// ImageConfig holds the settings of a container that both a YAML file and an image's
// org.mobyproject.config label may contain. A nil field was not given, so that the file
// can override the label with an empty value.
type ImageConfig struct {
	Capabilities      []string               `yaml:"capabilities"`
	CapabilitiesAdd   []string               `yaml:"capabilities.add"`
	Ambient           []string               `yaml:"ambient"`
	Mounts            []specs.Mount          `yaml:"mounts"`
	Binds             []string               `yaml:"binds"`
	BindsAdd          []string               `yaml:"binds.add"`
	Devices           []Device               `yaml:"devices"`
	Tmpfs             []string               `yaml:"tmpfs"`
	Command           []string               `yaml:"command"`
	Env               []string               `yaml:"env"`
	Cwd               string                 `yaml:"cwd"`
	Net               string                 `yaml:"net"`
	PID               string                 `yaml:"pid"`
	IPC               string                 `yaml:"ipc"`
	UTS               string                 `yaml:"uts"`
	Userns            string                 `yaml:"userns"`
	Hostname          string                 `yaml:"hostname"`
	Readonly          *bool                  `yaml:"readonly"`
	MaskedPaths       []string               `yaml:"maskedPaths"`
	ReadonlyPaths     []string               `yaml:"readonlyPaths"`
	UID               *ID                    `yaml:"uid"`
	GID               *ID                    `yaml:"gid"`
	AdditionalGids    []ID                   `yaml:"additionalGids"`
	NoNewPrivileges   *bool                  `yaml:"noNewPrivileges"`
	OOMScoreAdj       *int                   `yaml:"oomScoreAdj"`
	RootfsPropagation *string                `yaml:"rootfsPropagation"`
	CgroupsPath       *string                `yaml:"cgroupsPath"`
	Resources         *Resources             `yaml:"resources"`
	Sysctl            map[string]string      `yaml:"sysctl"`
	Rlimits           []string               `yaml:"rlimits"`
	UIDMappings       []specs.LinuxIDMapping `yaml:"uidMappings"`
	GIDMappings       []specs.LinuxIDMapping `yaml:"gidMappings"`
	Annotations       map[string]string      `yaml:"annotations"`
	Runtime           *Runtime               `yaml:"runtime"`
}

// Device is a device node in a container; path "all" allows a whole type.
type Device struct {
	Path  string `yaml:"path"`
	Type  string `yaml:"type"`
	Major int64  `yaml:"major"`
	Minor int64  `yaml:"minor"`
	Mode  string `yaml:"mode"`
}

// Runtime holds what is set up around a container rather than in it.
type Runtime struct {
	Cgroups    []string      `yaml:"cgroups"`
	Mounts     []specs.Mount `yaml:"mounts"`
	Mkdir      []string      `yaml:"mkdir"`
	Interfaces []Interface   `yaml:"interfaces"`
	BindNS     Namespaces    `yaml:"bindNS"`
	Namespace  *string       `yaml:"namespace"`
}

// Namespaces holds the paths where a container's namespaces are bind-mounted.
type Namespaces struct {
	Cgroup *string `yaml:"cgroup"`
	IPC    *string `yaml:"ipc"`
	Mnt    *string `yaml:"mnt"`
	Net    *string `yaml:"net"`
	PID    *string `yaml:"pid"`
	User   *string `yaml:"user"`
	UTS    *string `yaml:"uts"`
}

// Interface is a network interface given to a container.
type Interface struct {
	Name         string `yaml:"name"`
	Add          string `yaml:"add"`
	Peer         string `yaml:"peer"`
	CreateInRoot bool   `yaml:"createInRoot"`
}

// ID is a user or group id: a number, or the name of a container of the file.
type ID struct {
	Name string
	Num  uint32
}

// UnmarshalYAML accepts a number or a name.
func (id *ID) UnmarshalYAML(n ast.Node) error {
	switch n := n.(type) {
	case *ast.IntegerNode:
		v, ok := n.Value.(uint64)
		if !ok || v >= math.MaxUint32 {
			return &yaml.SyntaxError{Message: n.String() + " is not an id", Token: n.GetToken()}
		}
		id.Num = uint32(v)
	case *ast.StringNode:
		id.Name = n.Value
	case *ast.NullNode:
	default:
		return &yaml.SyntaxError{Message: "an id is a number or the name of a container", Token: n.GetToken()}
	}
	return nil
}

// Number returns id's value, given the IDs of all containers by name. It is 0 for a nil
// id and the names "" and "root".
func (id *ID) Number(ids map[string]uint32) (uint32, error) {
	if id == nil || id.Name == "root" {
		return 0, nil
	}
	if id.Name == "" {
		return id.Num, nil
	}
	n, ok := ids[id.Name]
	if !ok {
		return 0, fmt.Errorf("no container is named %q", id.Name)
	}
	return n, nil
}

// firstID is the ID of the first container of a file.
const firstID = 100

// IDs assigns each container its own user and group ID, in the order onboot,
// onshutdown, services.
func (c *Config) IDs() map[string]uint32 {
	ids := map[string]uint32{}
	next := uint32(firstID)
	for _, section := range [][]Image{c.Onboot, c.Onshutdown, c.Services} {
		for _, img := range section {
			ids[img.Name] = next
			next++
		}
	}
	return ids
}
