package privilege

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

// rule adds the gains of a field and of the fields below it, whose values differ.
type rule func(c *comparison, field string, was, is any)

// ruleFor returns the rule for a field of which some differences are harmless, or nil. Each
// difference of another field is a gain.
func ruleFor(field string) rule {
	switch field {
	case "ociVersion",
		// What runs in the container.
		"process.args", "process.env", "process.cwd", "process.terminal", "process.consoleSize":
		return harmless
	case "hostname", "domainname":
		return ownName
	case "process.user":
		return user
	case "process.capabilities":
		return capabilities
	case "process.rlimits":
		return rlimits
	case "process.noNewPrivileges":
		return switchedOff("programs with the set-user-ID bit or file capabilities may raise privileges")
	case "process.apparmorProfile":
		return appArmor
	case "process.oomScoreAdj":
		return oomScore
	case "root.path":
		return rootPath
	case "root.readonly":
		return switchedOff("the root file system becomes writable")
	case "mounts":
		return mounts
	case "annotations":
		return annotations
	}
	if strings.HasPrefix(field, "linux.") {
		return linuxRule(field)
	}
	return runtimeRule(field)
}

func linuxRule(field string) rule {
	switch field {
	case "linux.namespaces":
		return namespaces
	case "linux.devices":
		return added("a device node is made", device)
	case "linux.maskedPaths":
		return removed("the path becomes visible")
	case "linux.readonlyPaths":
		return removed("the path becomes writable")
	case "linux.rootfsPropagation":
		return propagation
	case "linux.seccomp":
		return seccomp
	case "linux.resources.devices":
		return deviceRules
	case "linux.resources.memory.limit", "linux.resources.memory.swap", "linux.resources.pids.limit":
		return limit
	case "linux.resources.cpu":
		return cpu
	}
	return nil
}

// runtimeRule returns rules for runtime.json, which is about the machine.
func runtimeRule(field string) rule {
	switch field {
	case "runtime.cgroups":
		return added("a cgroup is made on the machine", text)
	case "runtime.mkdir":
		return added("a folder is made on the machine", text)
	case "runtime.interfaces":
		return added("a network interface of the machine is made or moved", text)
	case "runtime.mounts":
		return hostMounts
	case "runtime.bindNS":
		return bindNS
	}
	return nil
}

// reasons explain differences of fields without a rule, by the beginning of the field.
var reasons = []struct{ field, why string }{
	{"hooks", "hooks run as root outside the container"},
	{"process.scheduler", "the scheduling may take processor time from others"},
	{"process.ioPriority", "the priority may take disk time from others"},
	{"process.execCPUAffinity", "the processors of the service change"},
	{"process.selinuxLabel", "the SELinux label changes"},
	{"linux.mountLabel", "the SELinux label of the mounts changes"},
	{"linux.uidMappings", "other users of the machine are mapped into the container"},
	{"linux.gidMappings", "other groups of the machine are mapped into the container"},
	{"linux.sysctl", "a kernel parameter of the container's namespaces changes"},
	{"linux.cgroupsPath", "the service gets another cgroup, and so other limits"},
	{"linux.netDevices", "a network device of the machine is moved into the container"},
	{"linux.resources", "a resource limit changes, and is not known to be stricter"},
	{"linux.intelRdt", "the share of the cache and the memory bandwidth changes"},
	{"runtime.namespace", "the containerd namespace of the service changes"},
}

// reason returns why a difference of a field counts as a gain.
func reason(field string) string {
	for _, r := range reasons {
		if field == r.field || strings.HasPrefix(field, r.field+".") {
			return r.why
		}
	}
	return "the effect of the field is not known to be harmless"
}

func harmless(*comparison, string, any, any) {}

// ownName: a host name that is the machine's own.
func ownName(c *comparison, field string, was, is any) {
	if !zero(is) && namespaceStates(c.new)["uts"] != newNamespace {
		c.add(field, str(is), was, is, "the name is set in a UTS namespace that is not the container's own")
	}
}

// switchedOff returns a rule for a restriction that is true or absent.
func switchedOff(why string) rule {
	return func(c *comparison, field string, was, is any) {
		if is != true {
			c.add(field, "false", was, is, why)
		}
	}
}

// added returns a rule for a list without order, whose new elements are gains.
func added(why string, name func(any) string) rule {
	return func(c *comparison, field string, was, is any) {
		known := map[string]bool{}
		for _, v := range list(was) {
			known[text(v)] = true
		}
		for _, v := range list(is) {
			if !known[text(v)] {
				known[text(v)] = true
				c.add(field, name(v), nil, v, why)
			}
		}
		c.wantList(field, was, is)
	}
}

// removed returns a rule for a list without order, whose missing elements are gains.
func removed(why string) rule {
	return func(c *comparison, field string, was, is any) {
		left := map[string]bool{}
		for _, v := range list(is) {
			left[text(v)] = true
		}
		for _, v := range list(was) {
			if !left[text(v)] {
				c.add(field, text(v), v, nil, why)
			}
		}
		c.wantList(field, was, is)
	}
}

// wantList adds a gain for a value that should be a list, as Go's decoder requires.
func (c *comparison) wantList(field string, was, is any) {
	if _, ok := is.([]any); !ok && is != nil {
		c.changed(field, was, is)
	}
}

func appArmor(c *comparison, field string, was, is any) {
	none := func(v any) bool { return zero(v) || v == "unconfined" }
	if !none(was) || none(is) && !none(was) {
		c.add(field, text(is), was, is, "the AppArmor profile changes")
	}
}

// oomScore: the supervisor sets a score that is absent to 0.
func oomScore(c *comparison, field string, was, is any) {
	before, _ := number(was)
	if now, ok := number(is); now < before || !ok && is != nil {
		c.add(field, text(is), was, is, "the kernel ends other processes before this service when memory is short")
	}
}

// rootPath: normalize makes a path absolute that leads out of the bundle.
func rootPath(c *comparison, field string, was, is any) {
	if !filepath.IsLocal(str(is)) {
		c.add(field, text(is), was, is, "the root is a folder outside the bundle")
	}
}

// propagation: runc's default is slave (config-linux.md, "Rootfs Mount Propagation").
func propagation(c *comparison, field string, was, is any) {
	if now := rankPropagation(str(is)); now > rankPropagation(str(was)) || now == unknownPropagation {
		c.add(field, text(is), was, is, "mounts spread between the container and the machine")
	}
}

func rankPropagation(option string) int {
	switch strings.TrimPrefix(option, "r") {
	case "private", "unbindable":
		return 0
	case "slave", "":
		return 1
	case "shared":
		return 2
	}
	return unknownPropagation
}

const unknownPropagation = 3

// limit is a rule for an upper limit that is unlimited when absent or negative. What 0
// means depends on the controller, so it is no limit that can be compared.
func limit(c *comparison, field string, was, is any) {
	before, known := number(was)
	now, ok := number(is)
	if ok && now > 0 && (was == nil || known && (before < 0 || now <= before)) {
		return
	}
	c.add(field, text(is), was, is, "the limit is raised or removed")
}

// cpu compares the share and the quota of processor time.
func cpu(c *comparison, field string, was, is any) {
	a, b, ok := bothObjects(was, is)
	if !ok {
		c.changed(field, was, is)
		return
	}
	if shares(b) > shares(a) {
		c.add(field+".shares", text(b["shares"]), a["shares"], b["shares"], "the service gets a larger share of processor time")
	}
	if quota(b) > quota(a) {
		c.add(field+".quota", fmt.Sprintf("%s/%s", text(b["quota"]), text(b["period"])), a["quota"], b["quota"],
			"the limit of processor time (quota/period) is raised or removed")
	}
	c.others(field, a, b, "shares", "quota", "period")
}

// shares returns the weight of a cgroup: 1024 by default (config-linux.md, "CPU").
func shares(cpu object) int64 {
	if n, ok := number(cpu["shares"]); ok && n != 0 {
		return n
	}
	return 1024
}

// quota returns the processors that a cgroup may use; the period is 100 ms by default
// (cgroup-v2.rst, cpu.max).
func quota(cpu object) float64 {
	n, ok := number(cpu["quota"])
	if !ok || n <= 0 {
		return math.Inf(1)
	}
	period, ok := number(cpu["period"])
	if !ok || period <= 0 {
		period = 100_000
	}
	return float64(n) / float64(period)
}

// others judges the fields of two objects that a rule does not know.
func (c *comparison) others(field string, was, is object, known ...string) {
	for key := range keysOf(was, is) {
		if !slices.Contains(known, key) {
			diff(field+"."+key, was[key], is[key], c.judge)
		}
	}
}
