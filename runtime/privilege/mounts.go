package privilege

import (
	"path"
	"slices"
	"strings"
)

// mount is a mount of config.json, with options that only restrict it apart from the rest.
type mount struct {
	dest, kind, source string
	restrict           map[string]bool // ro, nosuid, …, which are set
	propagation        int             // of the options that are given, how far mounts spread
	data               string          // other options, sorted
	rest               string          // fields that this program does not know, and mappings
	value              object          // as in the file
}

// restriction returns the flag that an option sets or clears, among those that restrict a
// mount, or "". The recursive ones of mount_setattr(2) are flags of their own.
func restriction(option string) (flag string, sets bool) {
	plain, recursive := option, ""
	if rest, ok := strings.CutPrefix(option, "r"); ok && option != "ro" && option != "rw" {
		plain, recursive = rest, "r"
	}
	switch plain {
	case "ro", "nosuid", "nodev", "noexec", "nosymfollow":
		return recursive + plain, true
	case "rw":
		return recursive + "ro", false
	case "suid", "dev", "exec", "symfollow":
		return recursive + "no" + plain, false
	}
	return "", false
}

// ignoredOptions concern the times of accesses.
var ignoredOptions = []string{"defaults", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime"}

// propagations are the options for the propagation of a mount.
var propagations = []string{"private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}

func parseMount(v any) mount {
	o, _ := v.(object)
	m := mount{dest: path.Clean("/" + str(o["destination"])), kind: str(o["type"]), source: str(o["source"]),
		restrict: map[string]bool{}, propagation: -1, value: o}
	if isBind(o) {
		m.kind = "bind"
		m.source = path.Clean(m.source)
	}
	var data []string
	for _, option := range list(o["options"]) {
		if !m.flag(str(option)) {
			data = append(data, text(option))
		}
	}
	slices.Sort(data)
	if m.propagation < 0 {
		m.propagation = spread("rslave") // by inheritance (linux.rootfsPropagation)
	}
	m.data = strings.Join(slices.Compact(data), ",")
	m.rest = rest(o, "destination", "type", "source", "options")
	return m
}

// flag reads an option that restricts the mount, or has no effect on its privileges. A
// later option overrides an earlier one.
func (m *mount) flag(option string) bool {
	if flag, sets := restriction(option); sets {
		m.restrict[flag] = true
		return true
	} else if flag != "" {
		delete(m.restrict, flag)
		return true
	}
	if slices.Contains(propagations, option) {
		m.propagation = max(m.propagation, spread(option))
		return true
	}
	return slices.Contains(ignoredOptions, option)
}

// spread ranks an option for propagation: how far mounts spread with it.
func spread(option string) int {
	rank := 2 * rankPropagation(option)
	if rank > 0 && strings.HasPrefix(option, "r") {
		rank++
	}
	return rank
}

func isBind(o object) bool {
	options := list(o["options"])
	return str(o["type"]) == "bind" || slices.Contains(options, any("bind")) || slices.Contains(options, any("rbind"))
}

// within reports whether m gives no more than the other.
func (m mount) within(other mount) bool {
	if m.dest != other.dest || m.kind != other.kind || m.source != other.source || m.data != other.data || m.rest != other.rest ||
		m.propagation > other.propagation {
		return false
	}
	for flag := range other.restrict {
		if !m.restrict[flag] && !m.restrict["r"+flag] {
			return false
		}
	}
	return true
}

// String returns the mount as a policy names it: SOURCE:DESTINATION:OPTIONS, with the type
// as the source if it is not a bind, and the options in alphabetical order.
func (m mount) String() string {
	options := m.options()
	slices.Sort(options)
	return m.line(slices.Compact(options))
}

// options returns the options as they are in the file.
func (m mount) options() (all []string) {
	for _, o := range list(m.value["options"]) {
		all = append(all, text(o))
	}
	return all
}

func (m mount) line(options []string) string {
	source := m.kind
	switch {
	case m.kind == "bind":
		source = m.source
	case m.source != m.kind:
		source += " " + m.source
	}
	s := source + ":" + m.dest
	if len(options) > 0 {
		s += ":" + strings.Join(options, ",")
	}
	if m.rest != "" {
		s += " " + m.rest
	}
	return s
}

// ownMemory reports whether m is a file system in memory of the container's own, which is
// charged to its cgroup.
func (m mount) ownMemory() bool {
	if m.kind != "tmpfs" || m.rest != "" {
		return false
	}
	for option := range strings.SplitSeq(m.data, ",") {
		key, _, _ := strings.Cut(option, "=")
		if !slices.Contains([]string{"", "mode", "size", "nr_blocks", "nr_inodes", "uid", "gid", "tmpcopyup"}, key) {
			return false
		}
	}
	return true
}

// below reports whether m is mounted at or below another mount that is not the container's
// own memory.
func (m mount) below(others []mount) bool {
	return slices.ContainsFunc(others, func(o mount) bool { return !o.ownMemory() && Covers(o.dest, m.dest) })
}

// Covers reports whether inner is outer or below it.
func Covers(outer, inner string) bool {
	return inner == outer || strings.HasPrefix(inner, strings.TrimSuffix(outer, "/")+"/")
}

// mostMounts bounds the work of a comparison.
const mostMounts = 256

// mounts compares the mounts of a container. New ones are gains, unless they are the
// container's own memory. A missing one is a gain if it covered a part of another mount,
// and so is another order of mounts of which one covers the other.
func mounts(c *comparison, field string, was, is any) {
	if len(list(was)) > mostMounts || len(list(is)) > mostMounts {
		c.add(field, "number", was, is, "there are too many mounts to compare")
		return
	}
	c.wantList(field, was, is)
	before, now := parseMounts(was), parseMounts(is)
	kept := make([]int, len(before)) // index in now, or -1
	for i := range kept {
		kept[i] = -1
	}
	newAt := map[string]bool{} // destinations of mounts that are new
	for j, m := range now {
		i := slices.IndexFunc(before, m.within)
		newAt[m.dest] = newAt[m.dest] || i < 0
		switch {
		case i >= 0:
			kept[i] = j
		case !m.ownMemory() || m.below(slices.Concat(now[:j], now[j+1:])):
			c.add(field, m.String(), sameDestination(before, m), m.value, "the mount is new, or less restricted")
		}
	}
	for i, m := range before {
		if kept[i] < 0 && m.below(now) && !newAt[m.dest] { // A new one is a gain, or covers the same.
			c.add(field, "without "+m.String(), m.value, nil, "the mount covered a part of another one")
		}
	}
	if reordered(before, kept) {
		c.add(field, "order", was, is, "mounts that cover each other are in another order")
	}
}

func parseMounts(v any) (all []mount) {
	for _, e := range list(v) {
		if _, ok := e.(object); ok {
			all = append(all, parseMount(e))
		}
	}
	return all
}

// sameDestination returns the mount at the same place as m.
func sameDestination(all []mount, m mount) any {
	if i := slices.IndexFunc(all, func(o mount) bool { return o.dest == m.dest }); i >= 0 {
		return all[i].value
	}
	return nil
}

// reordered reports whether mounts of which one covers the other have changed places.
func reordered(before []mount, kept []int) bool {
	for j := range before {
		for i := range j {
			related := Covers(before[i].dest, before[j].dest) || Covers(before[j].dest, before[i].dest)
			if related && kept[i] >= 0 && kept[j] >= 0 && kept[i] > kept[j] {
				return true
			}
		}
	}
	return false
}

// hostMounts compares the mounts that are made on the machine, in this order.
func hostMounts(c *comparison, field string, was, is any) {
	added("the mount is made on the machine, outside the container", func(v any) string {
		o, ok := v.(object)
		if !ok {
			return text(v)
		}
		m := parseMount(o)
		m.dest = str(o["destination"]) // Relative ones are below the root of the container.
		return m.String()
	})(c, field, was, is)
	if !inOrder(was, is) {
		c.add(field, "order", was, is, "mounts on the machine are in another order")
	}
}

// inOrder reports whether the elements that are in both lists are in the same order.
func inOrder(was, is any) bool {
	common := func(a, b any) (both []string) {
		in := map[string]bool{}
		for _, v := range list(b) {
			in[text(v)] = true
		}
		for _, v := range list(a) {
			if in[text(v)] {
				both = append(both, text(v))
			}
		}
		return both
	}
	return slices.Equal(common(was, is), common(is, was))
}
