package bundle

import (
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// capabilitySets are the values of keelson.capabilities.
//
// Sources: defaultCapabilities of Moby (daemon/pkg/oci/caps/defaults.go) and
// default_capabilities of containers.conf(5), which Podman and Buildah read.
var capabilitySets = map[string][]string{
	"none": {},
	"docker-default": {
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
		"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	},
	"podman-default": {
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
		"CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	},
}

// CapabilitySets returns the names of the sets of capabilities, sorted.
func CapabilitySets() []string { return slices.Sorted(maps.Keys(capabilitySets)) }

// ApplyCapabilities gives the process the capabilities of keelson.capabilities, if it is
// set.
func (b *Bundle) ApplyCapabilities() {
	if b.Settings.Capabilities == "" || b.Spec == nil || b.Spec.Process == nil {
		return
	}
	spec, process := *b.Spec, *b.Spec.Process // The caller's do not change.
	process.Capabilities = CapabilitySet(b.Settings.Capabilities)
	spec.Process = &process
	b.Spec = &spec
}

// CapabilitySet returns the capabilities of a container with keelson.capabilities: name.
// As container engines do, it leaves the ambient and inheritable sets empty: a process of
// another user than root has no capabilities.
func CapabilitySet(name string) *specs.LinuxCapabilities {
	set := capabilitySets[name]
	return &specs.LinuxCapabilities{
		Bounding: slices.Clone(set), Effective: slices.Clone(set), Permitted: slices.Clone(set),
		Inheritable: []string{}, Ambient: []string{},
	}
}
