package ocispec

import (
	"maps"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Validate refuses what an OCI runtime refuses when it creates the container,
// which on a machine would fail again and again. The rules are taken from runc
// (libcontainer/configs/validate); those for options of mounts and for what needs
// the machine's kernel are not among them. Errors are of type FieldError.
func Validate(s *specs.Spec) error {
	for _, check := range []func(*specs.Spec) error{
		checkProcess, checkUserNamespace, checkHostname, checkSysctls, checkPropagation, checkDevices,
	} {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

func checkProcess(s *specs.Spec) error {
	switch {
	case len(s.Process.Args) == 0:
		return fieldErrorf("command", "is missing, and the image has none")
	case !path.IsAbs(s.Process.Cwd):
		return fieldErrorf("cwd", "%q is not an absolute path", s.Process.Cwd)
	}
	return nil
}

// namespace returns the namespace of a kind that the container does not share with
// the system. One joined by the path of the system's is shared.
func namespace(s *specs.Spec, kind specs.LinuxNamespaceType) *specs.LinuxNamespace {
	for i, ns := range s.Linux.Namespaces {
		if ns.Type == kind && !strings.HasPrefix(ns.Path, "/proc/1/ns/") {
			return &s.Linux.Namespaces[i]
		}
	}
	return nil
}

func checkUserNamespace(s *specs.Spec) error {
	ns := namespace(s, specs.UserNamespace)
	switch mapped := len(s.Linux.UIDMappings)+len(s.Linux.GIDMappings) > 0; {
	case ns != nil && ns.Path == "" && !mapped:
		return fieldErrorf("userns", "a new user namespace needs uidMappings and gidMappings")
	case ns == nil && mapped:
		return fieldErrorf("uidMappings", "mappings need a user namespace (userns: new)")
	}
	return nil
}

func checkHostname(s *specs.Spec) error {
	if s.Hostname != "" && namespace(s, specs.UTSNamespace) == nil {
		return fieldErrorf("hostname", "a host name of the container's own needs uts: new")
	}
	return nil
}

// ipcSysctls are the names under kernel. that belong to an IPC namespace
// (namespaces(7)).
var ipcSysctls = []string{"msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"}

func checkSysctls(s *specs.Spec) error {
	for _, key := range slices.Sorted(maps.Keys(s.Linux.Sysctl)) {
		if why := refuseSysctl(s, dotted(key)); why != "" {
			return fieldErrorf("sysctl", "%s: %s", key, why)
		}
	}
	return nil
}

// refuseSysctl says why a container cannot set a sysctl, or nothing. A container
// may set those that belong to a namespace of its own.
func refuseSysctl(s *specs.Spec, key string) string {
	rest, ofKernel := strings.CutPrefix(key, "kernel.")
	need := func(kind specs.LinuxNamespaceType, setting string) string {
		if namespace(s, kind) == nil {
			return "is the system's own without " + setting + ": set it in an onboot container"
		}
		return ""
	}
	switch {
	case ofKernel && slices.Contains(ipcSysctls, rest), strings.HasPrefix(key, "fs.mqueue."):
		return need(specs.IPCNamespace, "ipc: new")
	case strings.HasPrefix(key, "net."):
		return need(specs.NetworkNamespace, "net: new")
	case strings.HasPrefix(key, "user."):
		return need(specs.UserNamespace, "userns: new")
	case key == "kernel.domainname":
		return need(specs.UTSNamespace, "uts: new")
	case key == "kernel.hostname":
		return "is what hostname sets"
	}
	return "belongs to no namespace of a container: set it in an onboot container"
}

// dotted is a sysctl's name with dots between its parts: where the first separator
// is a slash, dots belong to names such as eth0.100 (sysctl.d(5)).
func dotted(key string) string {
	if i := strings.IndexAny(key, "./"); i < 0 || key[i] == '.' {
		return key
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(key)
}

var propagations = []string{"", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}

func checkPropagation(s *specs.Spec) error {
	if !slices.Contains(propagations, s.Linux.RootfsPropagation) {
		return fieldErrorf("rootfsPropagation", "%q is not one of %s", s.Linux.RootfsPropagation, strings.Join(propagations[1:], ", "))
	}
	return nil
}

func checkDevices(s *specs.Spec) error {
	for _, d := range s.Linux.Devices {
		switch {
		case !slices.Contains([]string{"b", "c", "u", "p"}, d.Type):
			return fieldErrorf("devices", "%s: type %q is not one of b, c, u, p", d.Path, d.Type)
		case !path.IsAbs(d.Path):
			return fieldErrorf("devices", "%q is not an absolute path", d.Path)
		}
	}
	return nil
}
