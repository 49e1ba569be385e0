package privilege

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

// object is a JSON object.
type object = map[string]any

// oldTree returns the files of a bundle as one JSON object, with runtime.json as the field
// "runtime".
func oldTree(b *bundle.Bundle) (object, error) {
	if b == nil {
		b = least()
	}
	all, _, err := newTree(b)
	return all, err
}

// newTree is oldTree. It also returns a gain for a field that a runtime reads differently
// than the tree shows: Go's decoder, and so runc's, ignores the case of names and merges
// objects that occur twice.
func newTree(b *bundle.Bundle) (object, []Gain, error) {
	config, runtime, err := b.JSON()
	if err != nil {
		return nil, nil, err
	}
	all, err := parse(config, &specs.Spec{})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot compare %s: %w", filepath.Join(b.Dir, bundle.ConfigFile), err)
	}
	prepared, err := parse(runtime, &bundle.Runtime{})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot compare %s: %w", filepath.Join(b.Dir, bundle.RuntimeFile), err)
	}
	var gains []Gain
	for _, one := range []parsed{all, prepared} {
		if !contains(one.tree, one.decoded) {
			gains = append(gains, Gain{Field: "json", Was: "none", Is: "ambiguous",
				Why: "a field occurs twice, or its name has letters of unusual case: a runtime may read another value than was compared"})
		}
	}
	if all.tree["runtime"] != nil {
		gains = append(gains, Gain{Field: "json", Item: "runtime", Was: "none", Is: short(all.tree["runtime"]),
			Why: bundle.ConfigFile + " has a field of that name, which the specification does not define"})
	}
	effective(all.tree)
	normalize(all.tree, prepared.tree, b.Dir)
	all.tree["runtime"] = prepared.tree
	return all.tree, gains, nil
}

// parsed is a JSON text, once as it is and once as it is decoded into a type.
type parsed struct{ tree, decoded object }

func parse(text []byte, typed any) (p parsed, err error) {
	if err := json.Unmarshal(text, typed); err != nil {
		return p, err
	}
	again, err := json.Marshal(typed)
	if err != nil {
		return p, err
	}
	if p.tree, err = decode(text); err != nil {
		return p, err
	}
	p.decoded, err = decode(again)
	return p, err
}

// decode keeps numbers as they are written: 64 bits do not fit into a float64.
func decode(text []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var o object
	err := d.Decode(&o)
	if o == nil {
		o = object{}
	}
	return o, err
}

// contains reports whether all values of part that are not zero are in whole.
func contains(whole, part any) bool {
	switch part := part.(type) {
	case object:
		inner, _ := whole.(object)
		for key, value := range part {
			if !contains(inner[key], value) {
				return false
			}
		}
		return true
	case []any:
		inner, _ := whole.([]any)
		return len(inner) == len(part) && !slices.ContainsFunc(zip(inner, part), func(p [2]any) bool { return !contains(p[0], p[1]) })
	}
	return whole == part || whole == nil && (part == nil || part == "" || part == false || part == json.Number("0"))
}

func zip(a, b []any) (pairs [][2]any) {
	for i := range a {
		pairs = append(pairs, [2]any{a[i], b[i]})
	}
	return pairs
}

// effective replaces the capabilities by those of keelson.capabilities, if a bundle has that
// annotation.
func effective(config object) {
	annotations, _ := config["annotations"].(object)
	process, _ := config["process"].(object)
	settings, _ := bundle.ParseSettings(settingsOf(annotations))
	if settings.Capabilities == "" || process == nil {
		return
	}
	text, err := json.Marshal(bundle.CapabilitySet(settings.Capabilities))
	if err != nil {
		return
	}
	if caps, err := decode(text); err == nil {
		process["capabilities"] = caps
	}
}

// normalize makes values comparable that depend on the folder of a bundle or have a
// default.
func normalize(config, runtime object, dir string) {
	outside := func(o object, key string) {
		if path := str(o[key]); path != "" && !filepath.IsAbs(path) && !filepath.IsLocal(path) {
			o[key] = filepath.Join(dir, path)
		}
	}
	if root, ok := config["root"].(object); ok {
		outside(root, "path")
	}
	for _, m := range list(config["mounts"]) {
		if o, ok := m.(object); ok && isBind(o) {
			outside(o, "source")
		}
	}
	if str(runtime["namespace"]) == "" {
		runtime["namespace"] = bundle.DefaultNamespace
	}
}

// least returns a service without privileges, with which an added service is compared: root
// in namespaces of its own, without capabilities, with the mounts that LinuxKit gives to
// every container.
func least() *bundle.Bundle {
	sys := []string{"nosuid", "noexec", "nodev"}
	spec := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{Args: []string{"/"}, Cwd: "/", Capabilities: &specs.LinuxCapabilities{}},
		Root:    &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec", "relatime"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: sys},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: append(slices.Clone(sys), "relatime", "ro")},
		},
		Linux: &specs.Linux{},
	}
	for _, kind := range []specs.LinuxNamespaceType{specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.PIDNamespace, specs.MountNamespace} {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind})
	}
	return &bundle.Bundle{Spec: spec}
}

// same reports whether two values mean the same. An empty object may differ from none:
// without capabilities a container has all of them.
func same(a, b any) bool { return zero(a) && zero(b) || reflect.DeepEqual(a, b) }

func zero(v any) bool {
	l, isList := v.([]any)
	return v == nil || v == "" || v == false || isList && len(l) == 0
}

// str returns a string, or "".
func str(v any) string {
	s, _ := v.(string)
	return s
}

// list returns the elements of a list.
func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// number returns an integer. ok is false if there is none.
func number(v any) (n int64, ok bool) {
	text, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := text.Int64()
	return n, err == nil
}

// text returns a string as it is, another value as JSON, and "none" for none.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		return v
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// short is text in at most a line of a terminal.
func short(v any) string { return Shorten(text(v)) }

// Shorten returns a text that can be shown on a terminal: its beginning, quoted if it has
// control characters.
func Shorten(s string) string {
	const longest = 120
	if len(s) > longest {
		end := longest
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + "…"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// rest returns the fields of o other than those named, as JSON; "" if there are none.
func rest(o object, known ...string) string {
	other := object{}
	for key, value := range o {
		if !slices.Contains(known, key) && !zero(value) {
			other[key] = value
		}
	}
	if len(other) == 0 {
		return ""
	}
	return text(other)
}
