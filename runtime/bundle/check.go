package bundle

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"keelson/runtime/corecgroup"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func fieldError(path, field string, value any, why string) error {
	return fmt.Errorf("%s: field %s: bad value %q: %s", path, field, fmt.Sprint(value), why)
}

// checkSpec checks the fields of config.json that keelson itself uses. For what the runtime
// checks, see Refusals.
func checkSpec(path string, s *specs.Spec) error {
	switch {
	case s.Root == nil || s.Root.Path == "":
		return fieldError(path, "root.path", "", "a root filesystem is needed")
	case strings.ContainsRune(s.Root.Path, 0):
		return fieldError(path, "root.path", s.Root.Path, hasNUL)
	case s.Process == nil || len(s.Process.Args) == 0:
		return fieldError(path, "process.args", "[]", "a command is needed")
	}
	if s.Linux != nil && s.Linux.CgroupsPath != "" {
		if why := refuseCgroup(s.Linux.CgroupsPath); why != "" {
			return fieldError(path, "linux.cgroupsPath", s.Linux.CgroupsPath, why)
		}
	}
	return nil
}

const hasNUL = "a NUL byte is not allowed"

// checkRuntime checks all of runtime.json that does not depend on the machine.
func checkRuntime(path string, r *Runtime) error {
	c := runtimeCheck{path: path}
	for i, cgroup := range r.Cgroups {
		c.refuse(refuseCgroup(cgroup), cgroup, "cgroups[%d]", i)
	}
	for i, m := range r.Mounts {
		c.mount(i, m)
	}
	for i, dir := range r.Mkdir {
		c.needPath(dir, "mkdir[%d]", i)
	}
	c.interfaces(r.Interfaces)
	c.bindNS(r.BindNS.Paths())
	if r.Namespace != "" && !isIdentifier(r.Namespace) {
		c.refuse(wantIdentifier, r.Namespace, "namespace")
	}
	return c.err
}

// runtimeCheck keeps the first error.
type runtimeCheck struct {
	path string
	err  error
}

// refuse records why a field's value is bad, unless why is empty.
func (c *runtimeCheck) refuse(why, value, field string, args ...any) {
	if why != "" && c.err == nil {
		c.err = fieldError(c.path, fmt.Sprintf(field, args...), value, why)
	}
}

func (c *runtimeCheck) needPath(path, field string, args ...any) {
	switch {
	case path == "":
		c.refuse("a path is needed", path, field, args...)
	case strings.ContainsRune(path, 0):
		c.refuse(hasNUL, path, field, args...)
	}
}

// mount refuses what mount(2) fails with on every kernel.
func (c *runtimeCheck) mount(i int, m Mount) {
	c.needPath(m.Destination, "mounts[%d].destination", i)
	for field, value := range map[string]string{"source": m.Source, "type": m.Type, "options": strings.Join(m.Options, ",")} {
		if strings.ContainsRune(value, 0) {
			c.refuse(hasNUL, value, "mounts[%d].%s", i, field)
		}
	}
	isPropagation := func(option string) bool { return slices.Contains(propagations, option) }
	options := m.EachOption()
	switch {
	case m.HasOption("remount"):
	case m.IsBind() && m.Source == "":
		c.refuse("a bind needs a source", "", "mounts[%d].source", i)
	case m.IsBind():
	case m.Type == "" && (len(options) == 0 || slices.ContainsFunc(options, func(o string) bool { return !isPropagation(o) })):
		c.refuse("a type is needed, or the option bind or remount, or only options for propagation such as rshared", "", "mounts[%d].type", i)
	case m.Type == "overlay" && !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "lowerdir") }):
		c.refuse("an overlay needs the option lowerdir=", strings.Join(m.Options, ","), "mounts[%d].options", i)
	case m.Type == "overlay" && m.Option("upperdir") != "" && m.Option("workdir") == "":
		c.refuse("an overlay with upperdir= needs the option workdir=", strings.Join(m.Options, ","), "mounts[%d].options", i)
	}
}

func (c *runtimeCheck) interfaces(list []Interface) {
	names, peers := map[string]bool{}, map[string]bool{}
	for i, n := range list {
		c.refuse(refuseInterface(n), n.Name, "interfaces[%d].name", i)
		if names[n.Name] {
			c.refuse("another interface of the container has that name", n.Name, "interfaces[%d].name", i)
		}
		names[n.Name] = true
		if n.CreateInRoot && n.Add == "" && n.Peer == "" {
			c.refuse("needs add", "true", "interfaces[%d].createInRoot", i)
		}
		if n.Peer == "" {
			continue
		}
		c.refuse(refuseLinkName(n.Peer), n.Peer, "interfaces[%d].peer", i)
		switch {
		case n.Add != "" && n.Add != "veth":
			c.refuse("peer needs add: veth", n.Add, "interfaces[%d].add", i)
		case peers[n.Peer]:
			c.refuse("it is the peer of another interface", n.Peer, "interfaces[%d].peer", i)
		case n.CreateInRoot && n.Peer == n.Name:
			c.refuse("with createInRoot both ends need names of their own", n.Peer, "interfaces[%d].peer", i)
		}
		peers[n.Peer] = true
	}
}

func refuseInterface(n Interface) string {
	switch {
	case n.Name == "":
		return "a name is needed"
	case n.Name == "lo":
		return "each network namespace has a loopback device of its own, which cannot be moved"
	}
	return refuseLinkName(n.Name)
}

// refuseLinkName returns why the kernel refuses a name of a network device
// (dev_valid_name of net/core/dev.c), or "".
func refuseLinkName(name string) string {
	if len(name) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r\x00") {
		return "not a name for a network device: want at most 15 bytes without slashes, colons and blanks"
	}
	return ""
}

func (c *runtimeCheck) bindNS(list []NamespacePath) {
	taken := map[string]string{}
	for _, ns := range list {
		const field = "bindNS.%s"
		clean := filepath.Clean(ns.Path)
		c.needPath(ns.Path, field, ns.Name)
		switch {
		case !filepath.IsAbs(ns.Path):
			c.refuse("an absolute path is needed", ns.Path, field, ns.Name)
		case strings.HasSuffix(ns.Path, "/"):
			c.refuse("the path of a file is needed", ns.Path, field, ns.Name)
		case taken[clean] != "":
			c.refuse("bindNS."+taken[clean]+" has the same path", ns.Path, field, ns.Name)
		}
		taken[clean] = ns.Name
	}
}

// refuseCgroup returns why no cgroup can be made at a path, or "". The kernel refuses
// names with a line break, since they would break /proc/PID/cgroup (cgroup_mkdir of
// kernel/cgroup/cgroup.c), and a cgroup has files called cgroup.* itself.
func refuseCgroup(configured string) string {
	clean := path.Join("/", configured)
	if clean == "/" {
		return "a path below the root cgroup is needed"
	}
	if first, _, _ := strings.Cut(clean[1:], "/"); first == corecgroup.Name {
		return "this is the cgroup of keelson itself"
	}
	for name := range strings.SplitSeq(clean[1:], "/") {
		if strings.ContainsAny(name, "\n\x00") || len(name) > longestName || strings.HasPrefix(name, "cgroup.") {
			return "not a name for a cgroup: want at most 255 bytes without line breaks, not beginning with cgroup."
		}
	}
	return ""
}

// longestName is the kernel's limit for the name of a file, in bytes (NAME_MAX).
const longestName = 255

// identifier is what containerd accepts as the name of a namespace and of a container
// (github.com/containerd/containerd/v2/pkg/identifiers).
var identifier = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$`) })

const wantIdentifier = "containerd needs at most 76 letters, digits and single . _ - between them"

func isIdentifier(name string) bool { return len(name) <= 76 && identifier().MatchString(name) }
