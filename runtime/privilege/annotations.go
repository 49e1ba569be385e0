package privilege

import (
	"slices"
	"strings"

	"keelson/runtime/bundle"
)

// harmlessSettings are keelson's annotations that concern the service alone: when it starts
// and is restarted, and the checks, which run in the container (services/probe). requires
// and after are among them: they only hold back the service that has them. Settings of
// one-shot containers have no effect on a service.
var harmlessSettings = []string{
	"restart", "restart.delay", "restart.max-delay", "restart.limit", "after", "requires",
	"ready", "ready.timeout", "health", "health.interval", "health.timeout", "health.retries", "stop.signal",
	"on-failure", "timeout", "retries",
	"swap", "swap.keep", "swap.probation",
}

// describing begins annotations that only describe an image. The stop signal is among
// them.
const describing = "org.opencontainers.image."

// annotations compares annotations one by one. Those of other programs are gains: runc and
// other runtimes read some.
func annotations(c *comparison, field string, was, is any) {
	a, b, ok := bothObjects(was, is)
	if !ok {
		c.changed(field, was, is)
		return
	}
	before, _ := bundle.ParseSettings(settingsOf(a))
	now, _ := bundle.ParseSettings(settingsOf(b))
	for key := range keysOf(a, b) {
		if same(a[key], b[key]) {
			continue
		}
		why := "the annotation is not known to be harmless"
		name, own := strings.CutPrefix(key, bundle.SettingsPrefix)
		switch {
		case own && slices.Contains(harmlessSettings, name), strings.HasPrefix(key, describing):
			continue
		case own && name == "stop.timeout":
			if now.StopTimeout <= before.StopTimeout {
				continue
			}
			why = "the service can delay the shutdown of the machine longer"
		case own && name == "seccomp":
			if now.Seccomp == before.Seccomp || now.Seccomp == bundle.SeccompDefault {
				continue
			}
			why = "system calls are filtered no more"
		case own && name == "userns":
			if now.Userns == before.Userns || now.Userns == bundle.UsernsAuto {
				continue
			}
			why = "the service has no user namespace any more: its root is root of the machine"
		case own && name == "delegate":
			if now.Delegate == before.Delegate || !now.Delegate {
				continue
			}
			why = "the service may make cgroups below its own"
		case own && name == "pressure":
			if now.Pressure == before.Pressure || now.Pressure == bundle.PressureRestart {
				continue
			}
			why = "when memory is short, others are restarted in its place"
		case own && name == "capabilities":
			continue // The resulting sets are compared (effective).
		case own && name == "log.size":
			if b[key] != nil && a[key] != nil && now.LogSize <= before.LogSize {
				continue
			}
			why = "the logs of the service can take more of the disk"
		case own && name == "listen" && (b[key] == nil || len(now.Listen) > 0):
			c.sockets(field, key, before.Listen, now.Listen)
			continue
		case own && name == "role":
			why = "the container is used for something else than a service"
		}
		c.add(field, key+"="+text(b[key]), a[key], b[key], why)
	}
}

// sockets adds the listening sockets that the service did not have.
func (c *comparison) sockets(field, key string, was, is []bundle.Socket) {
	for _, s := range is {
		if !slices.ContainsFunc(was, func(o bundle.Socket) bool { return o.Where() == s.Where() }) {
			c.add(field, key+"="+s.Where(), nil, s.Where(), "the service gets a listening socket of the machine")
		}
	}
}

// settingsOf returns the annotations that are strings.
func settingsOf(o object) map[string]string {
	all := map[string]string{}
	for key, value := range o {
		all[key] = str(value)
	}
	return all
}
