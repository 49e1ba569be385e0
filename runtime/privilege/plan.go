package privilege

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"keelson/runtime/bundle"
)

// Change is one difference of two bundles.
type Change struct {
	Field string `json:"field"` // as in Gain; elements of lists are named: mounts[/data], process.env[PATH]
	Was   string `json:"was"`   // "none" if absent
	Is    string `json:"is"`
}

// String returns the change for people, on one line.
func (c Change) String() string { return fmt.Sprintf("%s: %s -> %s", Shorten(c.Field), c.Was, c.Is) }

// Plan returns all differences of two bundles, ordered by field. A nil old stands for
// the bundle with which Compare compares an added service.
func Plan(old, new *bundle.Bundle) ([]Change, error) {
	if old == nil {
		old = least()
	}
	was, _, err := newTree(old)
	if err != nil {
		return nil, err
	}
	is, _, err := newTree(new)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, path := range [][]string{{"linux", "resources", "devices"}, {"mounts"}, {"runtime", "mounts"}} {
		if !inOrder(at(was, path), at(is, path)) {
			changes = append(changes, Change{strings.Join(path, ".") + ", order", short(at(was, path)), short(at(is, path))})
		}
	}
	diff("", named(was, old.Dir), named(is, new.Dir), func(field string, was, is any, leaf bool) bool {
		if leaf {
			changes = append(changes, Change{strings.ReplaceAll(field, ".[", "["), short(was), short(is)})
		}
		return leaf
	})
	slices.SortStableFunc(changes, func(a, b Change) int { return strings.Compare(a.Field, b.Field) })
	return changes, nil
}

// at returns the value at a path.
func at(v any, path []string) any {
	for _, key := range path {
		o, _ := v.(object)
		v = o[key]
	}
	return v
}

// named returns a tree in which lists are objects if their elements have a name, without
// the mounts that make the root in the bundle's own folder.
func named(tree object, dir string) object {
	tree = maps.Clone(tree)
	process := inner(tree, "process")
	linux := inner(tree, "linux")
	resources := inner(linux, "resources")
	runtime := inner(tree, "runtime")
	if all := list(tree["mounts"]); len(all) > 0 {
		tree["mounts"] = mountLines(all)
	}
	nameBy(process, "rlimits", func(o object) string { return str(o["type"]) })
	nameBy(linux, "namespaces", func(o object) string { return str(o["type"]) })
	nameBy(linux, "devices", func(o object) string { return str(o["path"]) })
	nameBy(resources, "devices", func(o object) string { return deviceRule(o) })
	nameBy(runtime, "interfaces", func(o object) string { return str(o["name"]) })
	if env, ok := process["env"].([]any); ok {
		values := object{}
		for _, v := range env {
			key, value, _ := strings.Cut(str(v), "=")
			values["["+key+"]"] = value
		}
		process["env"] = values
	}
	var mounts []any
	for _, v := range list(runtime["mounts"]) {
		if o, ok := v.(object); !ok || filepath.Dir(str(o["destination"])) != dir || dir == "" {
			mounts = append(mounts, v)
		}
	}
	runtime["mounts"] = mounts
	nameBy(runtime, "mounts", func(o object) string { return str(o["destination"]) })
	return tree
}

// mountLines returns mounts by destination, each on a line. Several mounts at one
// destination are numbered.
func mountLines(all []any) object {
	lines := object{}
	for i, v := range all {
		m := parseMount(v)
		name := "[" + m.dest + "]"
		if lines[name] != nil {
			name = fmt.Sprintf("[%s #%d]", m.dest, i+1)
		}
		lines[name] = m.line(m.options())
	}
	return lines
}

// inner replaces a field that is an object by a copy of it, which it returns.
func inner(o object, key string) object {
	value, ok := o[key].(object)
	if !ok {
		return object{} // Changes of it are lost, and are not needed.
	}
	o[key] = maps.Clone(value)
	return o[key].(object)
}

// nameBy replaces a list of objects by an object with the elements as texts. Several
// elements of one name are numbered.
func nameBy(o object, key string, name func(object) string) {
	elements, ok := o[key].([]any)
	if !ok || len(elements) == 0 {
		return
	}
	values := object{}
	for i, v := range elements {
		element, _ := v.(object)
		n := "[" + name(element) + "]"
		if values[n] != nil {
			n = fmt.Sprintf("[%s #%d]", name(element), i+1)
		}
		values[n] = text(v)
	}
	o[key] = values
}
