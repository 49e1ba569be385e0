package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Edit has the changes of config.json for the runtime. A zero field changes nothing.
type Edit struct {
	Terminal    *bool               // process.terminal
	OOMScoreAdj *int                // process.oomScoreAdj
	Env         []string            // appended to process.env
	Mounts      []specs.Mount       // appended to mounts
	CgroupsPath string              // linux.cgroupsPath
	Delegate    bool                // a cgroup namespace, and its cgroups writable in mounts
	Seccomp     *specs.LinuxSeccomp // linux.seccomp
	Without     []ResourceLimit     // removed from linux.resources
}

// WantsFilter reports whether keelson.seccomp asks for a filter of system calls. One in
// config.json has precedence.
func (b *Bundle) WantsFilter() bool {
	return b.Settings.Seccomp == SeccompDefault && b.Spec != nil && !HasFilter(b.Spec.Linux)
}

// Edits reports whether an annotation changes config.json.
func (b *Bundle) Edits() bool { return b.OwnUsers() || b.Settings.Capabilities != "" }

// Edited returns config.json, changed by e and by annotations, for a runtime that reads it
// in another folder: paths that are relative to the bundle (config.md of the OCI runtime
// specification, "Root" and "Mounts") become absolute. All other fields stay as they are,
// also those that this program does not know and a runtime may.
func (b *Bundle) Edited(e Edit) ([]byte, error) {
	text, err := b.edited(e)
	if err != nil {
		return nil, fmt.Errorf("cannot change %s: %w", filepath.Join(b.Dir, ConfigFile), err)
	}
	return text, nil
}

func (b *Bundle) edited(e Edit) ([]byte, error) {
	var top, root, process object
	if err := json.Unmarshal(b.text, &top); err != nil {
		return nil, err
	}
	if err := top.object("root", b.Spec.Root, &root); err != nil {
		return nil, err
	}
	if err := top.object("process", b.Spec.Process, &process); err != nil {
		return nil, err
	}
	linux, err := b.linux(top, e)
	if err != nil {
		return nil, err
	}
	if err := b.userNamespace(linux); err != nil {
		return nil, err
	}
	mounts, err := b.mounts(top, e)
	if err != nil {
		return nil, err
	}
	err = apply([]change{
		{root, "path", b.Rootfs(), true},
		{process, "terminal", e.Terminal, e.Terminal != nil},
		{process, "oomScoreAdj", e.OOMScoreAdj, e.OOMScoreAdj != nil},
		{process, "capabilities", b.Spec.Process.Capabilities, b.Settings.Capabilities != ""},
		{process, "env", slices.Concat(b.Spec.Process.Env, e.Env), len(e.Env) > 0},
		{linux, "cgroupsPath", e.CgroupsPath, e.CgroupsPath != ""},
		{linux, "seccomp", e.Seccomp, e.Seccomp != nil},
		{linux, "namespaces", b.namespaces(e), e.Delegate || b.OwnUsers()},
		{top, "linux", linux, e.linux() || b.OwnUsers()},
		{top, "mounts", mounts, mounts != nil},
		{top, "root", root, true},
		{top, "process", process, true},
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(top)
}

// change sets a field of an object, if do is true.
type change struct {
	in    object
	name  string
	value any
	do    bool
}

func apply(changes []change) error {
	for _, c := range changes {
		if !c.do {
			continue
		}
		if err := c.in.set(c.name, c.value); err != nil {
			return err
		}
	}
	return nil
}

// linux reports whether e changes the section for Linux.
func (e Edit) linux() bool {
	return e.CgroupsPath != "" || len(e.Without) > 0 || e.Seccomp != nil || e.Delegate
}

// linux returns the section for Linux without the limits of e.Without. It is empty when
// the file has none or e does not change it.
func (b *Bundle) linux(top object, e Edit) (object, error) {
	if !e.linux() && !b.OwnUsers() || b.Spec.Linux == nil {
		return object{}, nil
	}
	var linux, resources object
	if err := top.object("linux", b.Spec.Linux, &linux); err != nil || len(e.Without) == 0 {
		return linux, err
	}
	if err := linux.object("resources", b.Spec.Linux.Resources, &resources); err != nil {
		return nil, err
	}
	for _, l := range e.Without {
		if err := resources.remove(l.Path); err != nil {
			return nil, err
		}
	}
	return linux, linux.set("resources", resources)
}

// mounts returns the mounts with absolute sources, followed by those of e; nil when nothing
// changes.
func (b *Bundle) mounts(top object, e Edit) ([]any, error) {
	if len(e.Mounts) == 0 && !b.OwnUsers() && !e.Delegate && !slices.ContainsFunc(b.Spec.Mounts, relativeBind) {
		return nil, nil
	}
	text, err := top.value("mounts", b.Spec.Mounts)
	if err != nil {
		return nil, err
	}
	var own []object
	if err := json.Unmarshal(text, &own); err != nil {
		return nil, err
	}
	if len(own) != len(b.Spec.Mounts) {
		return nil, errTwice
	}
	all := []any{}
	for i, m := range b.Spec.Mounts {
		if relativeBind(m) {
			if err := own[i].set("source", filepath.Join(b.Dir, m.Source)); err != nil {
				return nil, err
			}
		}
		if e.Delegate && showsCgroups(m) {
			continue
		}
		if bind, changed := b.inUserns(m); changed {
			all = append(all, bind)
			continue
		}
		all = append(all, own[i])
	}
	if e.Delegate {
		all = append(all, delegated())
	}
	for _, m := range e.Mounts {
		all = append(all, m)
	}
	return all, nil
}

// relativeBind reports whether the source of m is relative to the folder in which the
// runtime runs.
func relativeBind(m specs.Mount) bool {
	return IsBind(m) && !filepath.IsAbs(m.Source)
}

// IsBind reports whether a mount of config.json is a bind mount, recursive or not.
func IsBind(m specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// errTwice is returned for a field that occurs twice with conflicting values.
var errTwice = errors.New("a field occurs twice, with conflicting values")

// object is a JSON object whose fields keep their text. Go's decoder, and so runc's,
// ignores the case of their names.
type object map[string]json.RawMessage

// value returns the text of a field. A field that occurs more than once, in letters of
// different case, has the value that Go's decoder read.
func (o object) value(name string, decoded any) (json.RawMessage, error) {
	if names := o.names(name); len(names) == 1 {
		return o[names[0]], nil
	}
	return json.Marshal(decoded)
}

// object reads a field that is an object.
func (o object) object(name string, decoded any, to *object) error {
	text, err := o.value(name, decoded)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}

// set gives a field a value.
func (o object) set(name string, value any) error {
	if o == nil { // null
		return errTwice
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	for _, n := range o.names(name) {
		delete(o, n)
	}
	o[name] = text
	return nil
}

// remove removes the field at path, and objects that become empty.
func (o object) remove(path []string) error {
	names := o.names(path[0])
	if len(path) > 1 {
		if len(names) != 1 {
			return errTwice
		}
		var inner object
		if err := json.Unmarshal(o[names[0]], &inner); err != nil {
			return err
		}
		if err := inner.remove(path[1:]); err != nil {
			return err
		}
		if len(inner) > 0 {
			return o.set(path[0], inner)
		}
	}
	for _, n := range names {
		delete(o, n)
	}
	return nil
}

func (o object) names(name string) (found []string) {
	for n := range o {
		if strings.EqualFold(n, name) {
			found = append(found, n)
		}
	}
	return found
}
