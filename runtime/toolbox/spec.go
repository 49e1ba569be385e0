package toolbox

import (
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ServiceDir is the link to the root of the container that tools look into.
const ServiceDir = "/service"

// MachineDir is that link with Tools.Machine.
const MachineDir = "/machine"

// oomScore makes the kernel end tools before anything else (proc_pid_oom_score_adj(5)).
const oomScore = 1000

// defaultPath is the PATH of a bundle without one, as login(1) has it for root.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// spec returns the configuration of the container of tools. root is the path of their root.
func (t Tools) spec(p place, root, cgroup string) *specs.Spec {
	capabilities := capabilities()
	score := oomScore
	process := &specs.Process{
		Args: t.Args, Cwd: "/", Env: t.env(), Terminal: t.Terminal, OOMScoreAdj: &score,
		Capabilities: &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities},
	}
	if t.Terminal && t.Width > 0 && t.Height > 0 {
		process.ConsoleSize = &specs.Box{Width: uint(t.Width), Height: uint(t.Height)}
	}
	return &specs.Spec{
		Version: specs.Version, Process: process, Root: &specs.Root{Path: root}, Mounts: p.mounts(t.Machine),
		Linux: &specs.Linux{
			CgroupsPath: cgroup,
			Namespaces:  append(slices.Clone(p.namespaces), specs.LinuxNamespace{Type: specs.MountNamespace}),
			Resources:   t.resources(),
		},
	}
}

// link is the name of the link to the root of the container.
func (t Tools) link() string {
	if t.Machine {
		return MachineDir
	}
	return ServiceDir
}

// resources permits the devices of a machine. Without them, the runtime permits those of any container.
func (t Tools) resources() *specs.LinuxResources {
	if !t.Machine {
		return nil
	}
	return &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}}
}

// capabilities returns all that this process could have.
func capabilities() (names []string) {
	for _, c := range capability.ListKnown() {
		if bound, err := capability.GetBound(c); err == nil && bound {
			names = append(names, "CAP_"+strings.ToUpper(c.String()))
		}
	}
	return names
}

// env returns the environment: that of the bundle with tools, and what was asked for.
func (t Tools) env() []string {
	var env []string
	if s := t.Bundle.Spec; s != nil && s.Process != nil {
		env = slices.Clone(s.Process.Env)
	}
	for _, missing := range []string{defaultPath, "HOME=/root"} {
		name, _, _ := strings.Cut(missing, "=")
		if !slices.ContainsFunc(env, func(set string) bool { return strings.HasPrefix(set, name+"=") }) {
			env = append(env, missing)
		}
	}
	return append(env, t.Env...)
}

// mounts returns the mounts of tools. They show the namespaces of the process, or, where the kernel does
// not permit that, those of the machine. With machine they are the machine's, and can be changed.
func (p place) mounts(machine bool) []specs.Mount {
	if machine {
		all := []specs.Mount{{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777"}}}
		for _, path := range []string{"/proc", "/sys", "/dev"} {
			all = append(all, specs.Mount{Destination: path, Type: "bind", Source: path, Options: []string{"rbind", "rw"}})
		}
		return all
	}
	common := []string{"nosuid", "noexec", "nodev"}
	of := func(own bool, kind, path string, more ...string) specs.Mount {
		options := slices.Concat(common, more)
		if own {
			return specs.Mount{Destination: path, Type: kind, Source: kind, Options: options}
		}
		return specs.Mount{Destination: path, Type: "bind", Source: path, Options: append(options, "rbind")}
	}
	all := []specs.Mount{
		of(p.ownsPIDs, "proc", "/proc"),
		of(p.ownsNetwork, "sysfs", "/sys", "ro"),
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append(slices.Clone(common), "mode=1777")},
		{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777"}},
	}
	if p.ownsNetwork && p.ownsCgroups {
		all = append(all, of(true, "cgroup", "/sys/fs/cgroup", "ro"))
	}
	return all
}
