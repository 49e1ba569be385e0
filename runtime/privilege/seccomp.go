package privilege

import (
	"slices"

	"keelson/runtime/bundle"
)

// ranks orders the actions of seccomp by how much they restrict (seccomp(2)).
var ranks = map[string]int{
	"SCMP_ACT_ALLOW": 0, "SCMP_ACT_LOG": 0, "SCMP_ACT_NOTIFY": 1, "SCMP_ACT_TRACE": 1,
	"SCMP_ACT_TRAP": 2, "SCMP_ACT_ERRNO": 2,
	"SCMP_ACT_KILL": 3, "SCMP_ACT_KILL_THREAD": 3, "SCMP_ACT_KILL_PROCESS": 3,
}

// seccomp compares filters of system calls. A rule that is missing leaves its system call
// to the default action, a new rule takes it from there; both are harmless if the call is
// restricted at least as much. Programs that trace or decide for the container
// (listenerPath) are gains.
func seccomp(c *comparison, field string, was, is any) {
	a, b, ok := bothObjects(was, is)
	switch {
	case !ok:
		c.changed(field, was, is)
		return
	case b == nil:
		c.add(field, "none", was, is, "system calls are filtered no more")
		return
	}
	if a != nil {
		c.weakerFilter(field, a, b)
	}
	if filters(b) && !filters(a) && c.hadDefaultFilter() {
		c.add(field, "own", was, is, "the filter takes the place of that of keelson.seccomp")
	}
	for _, key := range []string{"flags", "listenerPath", "listenerMetadata"} {
		diff(field+"."+key, a[key], b[key], c.judge)
	}
	c.others(field, a, b, "defaultAction", "defaultErrnoRet", "architectures", "flags", "listenerPath", "listenerMetadata", "syscalls")
}

// filters reports whether an object is a filter, as bundle.HasFilter.
func filters(o object) bool { return str(o["defaultAction"]) != "" || len(list(o["syscalls"])) > 0 }

// hadDefaultFilter reports whether the annotation of the old bundle asks for a filter.
func (c *comparison) hadDefaultFilter() bool {
	annotations, _ := c.old["annotations"].(object)
	settings, _ := bundle.ParseSettings(settingsOf(annotations))
	return settings.Seccomp == bundle.SeccompDefault
}

func (c *comparison) weakerFilter(field string, a, b object) {
	before, knownBefore := ranks[str(a["defaultAction"])]
	now, known := ranks[str(b["defaultAction"])]
	if a["defaultAction"] != b["defaultAction"] && (!known || !knownBefore || now < before) {
		c.add(field+".defaultAction", text(b["defaultAction"]), a["defaultAction"], b["defaultAction"], "system calls without a rule are restricted less")
	}
	added("system calls of another architecture are allowed", text)(c, field+".architectures", a["architectures"], b["architectures"])
	old, new := filterRules(a["syscalls"]), filterRules(b["syscalls"])
	for key := range keysOf(old, new) {
		r, isNew := new[key].(filterRule)
		if !isNew {
			r = old[key].(filterRule)
		}
		rank, known := ranks[r.action]
		switch {
		case old[key] != nil && new[key] != nil, r.rest == "" && known && isNew && rank >= before, r.rest == "" && known && !isNew && rank <= now:
		case isNew:
			c.add(field+".syscalls", r.call+":"+r.action, nil, r.text(), "the system call is restricted less")
		default:
			c.add(field+".syscalls", "without "+r.call+":"+r.action, r.text(), nil, "the system call is restricted less")
		}
	}
	if slices.ContainsFunc(list(b["syscalls"]), func(v any) bool { _, ok := v.(object); return !ok }) {
		c.changed(field+".syscalls", a["syscalls"], b["syscalls"])
	}
}

// filterRule is the rule for one system call.
type filterRule struct{ call, action, args, rest string }

func (r filterRule) text() string { return r.call + " " + r.action + " " + r.args + " " + r.rest }

// filterRules returns the rules of a filter, each for one system call.
func filterRules(v any) object {
	all := object{}
	for _, e := range list(v) {
		o, _ := e.(object)
		r := filterRule{action: str(o["action"]), rest: rest(o, "names", "action", "args", "errnoRet")}
		if args := list(o["args"]); len(args) > 0 {
			r.args = text(args)
		}
		for _, name := range list(o["names"]) {
			r.call = str(name)
			all[r.text()] = r
		}
	}
	return all
}
