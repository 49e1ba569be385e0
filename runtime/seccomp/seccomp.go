// Package seccomp makes the filter of system calls that the annotation keelson.seccomp asks
// for: the default profile of Docker, from github.com/moby/profiles. The profile depends on
// the processor, the kernel and the capabilities of the container, so it is made when the
// container is, on the machine: then it fits also an image that the linuxkit CLI built, and
// the configuration that a swapped version of a service has.
//
// It is not part of /init, which would grow by 100 KB: /init starts a program that contains
// it. It runs nothing: the caller passes the filter to the runtime. A kernel without
// CONFIG_SECCOMP_FILTER makes the runtime fail.
//
// Sources: seccomp(2); config-linux.md of the OCI runtime specification, "Seccomp".
package seccomp

import (
	"fmt"
	"path/filepath"

	profile "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

// Filter returns the filter for a bundle, or nil if the annotation asks for none. A filter
// in config.json has precedence.
func Filter(b *bundle.Bundle) (*specs.LinuxSeccomp, error) {
	if !b.WantsFilter() {
		return nil, nil
	}
	filter, err := profile.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: capabilities(b.Spec.Process)}})
	if err != nil {
		return nil, fmt.Errorf("cannot make the filter of %sseccomp for %s: %w", bundle.SettingsPrefix, filepath.Join(b.Dir, bundle.ConfigFile), err)
	}
	return filter, nil
}

// capabilities returns the capabilities of a process. One without the field has all of
// them: here those that the profile depends on.
func capabilities(p *specs.Process) *specs.LinuxCapabilities {
	if p != nil && p.Capabilities != nil {
		return p.Capabilities
	}
	all := &specs.LinuxCapabilities{}
	for _, call := range profile.DefaultProfile().Syscalls {
		if call.Includes != nil {
			all.Bounding = append(all.Bounding, call.Includes.Caps...)
		}
	}
	return all
}
