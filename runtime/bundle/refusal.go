package bundle

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Refusal is a reason why runc does not run a container on any machine.
type Refusal struct {
	Field string // of config.json, such as linux.sysctl
	Item  string // the part of Field, such as the name of a sysctl; may be empty
	Why   string
}

func (r Refusal) Error() string {
	if r.Item != "" {
		return r.Field + ": " + r.Item + ": " + r.Why
	}
	return r.Field + ": " + r.Why
}

// RefusedError is returned for a container that the runtime did not run because of its
// configuration.
type RefusedError struct {
	File string // config.json
	Why  []Refusal
	Err  error // the runtime's
}

func (e *RefusedError) Error() string {
	var why []string
	for _, r := range e.Why {
		why = append(why, r.Error())
	}
	return fmt.Sprintf("%s: %s; %v", e.File, strings.Join(why, "; "), e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Explain returns err, with which the runtime failed, as a *RefusedError if there are
// Refusals.
func (b *Bundle) Explain(err error) error {
	if b.Spec == nil {
		return err
	}
	if why := Refusals(b.Spec); len(why) > 0 {
		return &RefusedError{filepath.Join(b.Dir, ConfigFile), why, err}
	}
	return err
}

// Refusals returns the reasons why runc refuses a configuration, or none if it accepts it.
// Reasons that depend on the machine (its kernel, files that must exist) are not included,
// nor are those of other runtimes. A newer runc may accept a configuration that is refused
// here, so the container is started all the same.
//
// Sources: runc's libcontainer/configs/validate, specconv and init; setrlimit(2);
// user_namespaces(7).
func Refusals(s *specs.Spec) []Refusal {
	c := refusals{spec: s, process: s.Process, linux: s.Linux}
	if c.process == nil {
		c.process = &specs.Process{}
	}
	if c.linux == nil {
		c.linux = &specs.Linux{}
	}
	for _, check := range []func(){
		c.checkProcess, c.checkRlimits, c.checkScheduling, c.checkNamespaces, c.checkMappings, c.checkHostname,
		c.checkPropagation, c.checkSysctls, c.checkDevices, c.checkResources, c.checkSeccomp, c.checkMounts, c.checkUsers, c.checkDelegation,
	} {
		check()
	}
	return c.found
}

// refusals collects the refusals of a configuration.
type refusals struct {
	spec    *specs.Spec
	process *specs.Process
	linux   *specs.Linux
	found   []Refusal
}

func (c *refusals) add(field, item, format string, args ...any) {
	c.found = append(c.found, Refusal{field, item, fmt.Sprintf(format, args...)})
}

// NamespaceOf returns the namespace of a kind that a container has or joins, or nil if it
// uses the system's.
func NamespaceOf(linux *specs.Linux, kind specs.LinuxNamespaceType) *specs.LinuxNamespace {
	i := slices.IndexFunc(linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == kind })
	if i < 0 {
		return nil
	}
	return &linux.Namespaces[i]
}

func (c *refusals) namespace(kind specs.LinuxNamespaceType) *specs.LinuxNamespace {
	return NamespaceOf(c.linux, kind)
}

// fresh reports whether the container gets a new namespace of a kind.
func (c *refusals) fresh(kind specs.LinuxNamespaceType) bool {
	ns := c.namespace(kind)
	return ns != nil && ns.Path == ""
}

func (c *refusals) checkHostname() {
	const longest = 64 // sethostname(2)
	for _, n := range []struct{ field, name string }{{"hostname", c.spec.Hostname}, {"domainname", c.spec.Domainname}} {
		switch {
		case n.name != "" && c.namespace(specs.UTSNamespace) == nil:
			c.add(n.field, "", "needs a UTS namespace of the container's own (uts: new)")
		case len(n.name) > longest:
			c.add(n.field, "", "is longer than %d bytes", longest)
		}
	}
}

func (c *refusals) checkPropagation() {
	if p := c.linux.RootfsPropagation; p != "" && !slices.Contains(propagations, p) {
		c.add("linux.rootfsPropagation", "", "%q is not one of %s", p, strings.Join(propagations, ", "))
	}
}

var propagations = []string{"private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}

// ipcSysctls are the names under kernel. that belong to an IPC namespace
// (namespaces(7)).
var ipcSysctls = []string{"msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"}

func (c *refusals) checkSysctls() {
	for _, key := range slices.Sorted(maps.Keys(c.linux.Sysctl)) {
		if why := c.refuseSysctl(dotted(key)); why != "" {
			c.add("linux.sysctl", key, "%s", why)
		}
	}
}

// refuseSysctl returns why a container cannot set a sysctl, or "". A container may set
// sysctls that belong to a namespace of its own.
func (c *refusals) refuseSysctl(key string) string {
	rest, ofKernel := strings.CutPrefix(key, "kernel.")
	need := func(kind specs.LinuxNamespaceType, setting string) string {
		ns := c.namespace(kind)
		if ns == nil || kind == specs.NetworkNamespace && strings.HasPrefix(ns.Path, "/proc/1/ns/") {
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

// dotted returns a sysctl's name with dots between its parts. If the first separator is a
// slash, dots are parts of names such as eth0.100 (sysctl.d(5)).
func dotted(key string) string {
	if i := strings.IndexAny(key, "./"); i < 0 || key[i] == '.' {
		return key
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(key)
}
