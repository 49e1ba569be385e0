package ocispec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/testvm/image/config"
)

// Validate returns the settings that the OCI runtime refuses, by the same rules as the
// guest (bundle.Refusals), and mappings that it would ignore. Errors are of type
// *FieldError, with the fields of the YAML file.
func Validate(c Container, s *specs.Spec) (errs []error) {
	for _, r := range bundle.Refusals(s) {
		why := r.Why
		if r.Item != "" {
			why = r.Item + ": " + why
		}
		errs = append(errs, &FieldError{c.yamlField(r, s), errors.New(why)})
	}
	userns := slices.ContainsFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.UserNamespace })
	if !userns && len(s.Linux.UIDMappings)+len(s.Linux.GIDMappings) > 0 {
		errs = append(errs, fieldErrorf("uidMappings", "mappings need a user namespace (userns: new)"))
	}
	b := bundle.Bundle{Spec: s}
	b.Settings, _ = bundle.ParseSettings(s.Annotations) // config reports mistakes.
	for _, err := range b.CheckTogether() {
		errs = append(errs, &FieldError{"annotations", err})
	}
	return errs
}

// yamlFields are the fields whose name in config.json differs. Other fields have the same
// name, at the top or below linux.
var yamlFields = map[string]string{
	"process.args": "command", "process.cwd": "cwd", "process.env": "env", "process.oomScoreAdj": "oomScoreAdj",
	"process.user": "uid", "process.user.uid": "uid", "process.user.gid": "gid", "process.user.additionalGids": "additionalGids",
}

// yamlField is the field of the YAML file that a refusal is about.
func (c *Container) yamlField(r bundle.Refusal, s *specs.Spec) string {
	switch {
	case yamlFields[r.Field] != "":
		return yamlFields[r.Field]
	case r.Field == "process.rlimits":
		i := slices.IndexFunc(s.Process.Rlimits, func(l specs.POSIXRlimit) bool { return l.Type == r.Item })
		return fmt.Sprintf("rlimits[%d]", i)
	case r.Field == "linux.devices":
		i := slices.IndexFunc(list(c.YAML.Devices, c.Label.Devices), func(d config.Device) bool { return d.Path == r.Item })
		return fmt.Sprintf("devices[%d]", i)
	case r.Field == "linux.uidMappings" && len(s.Linux.UIDMappings) == 0:
		return "userns"
	case r.Field == "linux.namespaces" && r.Item == string(specs.UserNamespace):
		return "userns"
	case r.Field == "mounts":
		return c.mountField(r.Item)
	}
	return strings.TrimPrefix(r.Field, "linux.")
}

// mountField returns the field that sets the mount at dest: the last one wins.
func (c *Container) mountField(dest string) string {
	for _, f := range []struct {
		name  string
		count int
		dest  func(i int) string
	}{
		{"mounts", len(c.YAML.Mounts), func(i int) string {
			m := c.YAML.Mounts[i]
			return first(m.Destination, pseudo[first(m.Type, m.Source)])
		}},
		{"binds", len(c.YAML.Binds), func(i int) string { return part(c.YAML.Binds[i], 1) }},
		{"binds.add", len(c.YAML.BindsAdd), func(i int) string { return part(c.YAML.BindsAdd[i], 1) }},
		{"tmpfs", len(c.YAML.Tmpfs), func(i int) string { return part(c.YAML.Tmpfs[i], 0) }},
	} {
		for i := f.count - 1; i >= 0; i-- {
			if f.dest(i) != dest {
				continue
			}
			if f.name == "binds.add" {
				return f.name
			}
			return fmt.Sprintf("%s[%d]", f.name, i)
		}
	}
	return "mounts" // in the image's label, or a standard mount
}

// part returns the i-th field of a bind or tmpfs, which colons separate.
func part(s string, i int) string {
	if parts := strings.Split(s, ":"); i < len(parts) {
		return parts[i]
	}
	return ""
}
