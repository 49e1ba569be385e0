package ocispec

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/testvm/image/config"
)

// allCapabilities are the names of all capabilities, in the kernel's order.
func allCapabilities() (out []string) {
	for _, c := range capability.ListKnown() {
		out = append(out, "CAP_"+strings.ToUpper(c.String()))
	}
	return out
}

func (c *Container) capabilities() (*specs.LinuxCapabilities, error) {
	y, l := &c.YAML, &c.Label
	effective, err := expand("capabilities", list(y.Capabilities, union(l.Capabilities, y.CapabilitiesAdd)))
	if err != nil && y.Capabilities == nil {
		return nil, &FieldError{"capabilities.add", errors.Unwrap(err)}
	}
	if err != nil {
		return nil, err
	}
	ambient, err := expand("ambient", list(y.Ambient, l.Ambient))
	if err != nil {
		return nil, err
	}
	bounding := slices.Clone(union(effective, ambient))
	slices.Sort(bounding)
	return &specs.LinuxCapabilities{
		Bounding: bounding, Effective: effective, Inheritable: bounding,
		Permitted: bounding, Ambient: ambient,
	}, nil
}

// expand checks names and resolves a lone "all" or "none".
func expand(field string, names []string) ([]string, error) {
	all := allCapabilities()
	if len(names) == 1 {
		switch strings.ToLower(names[0]) {
		case "all":
			return all, nil
		case "none":
			return nil, nil
		}
	}
	for i, n := range names {
		if !slices.Contains(all, n) {
			return nil, fieldErrorf(fmt.Sprintf("%s[%d]", field, i), "%q is not a capability such as CAP_NET_ADMIN", n)
		}
	}
	return names, nil
}

// union joins two lists in order, each value once.
func union(a, b []string) (out []string) {
	for _, s := range slices.Concat(a, b) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// rlimits reads values of the form NAME,SOFT,HARD.
func rlimits(values []string) (out []specs.POSIXRlimit, err error) {
	for i, v := range values {
		at := fmt.Sprintf("rlimits[%d]", i)
		parts := strings.Split(v, ",")
		if len(parts) != 3 {
			return nil, fieldErrorf(at, "%q is not NAME,SOFT,HARD", v)
		}
		name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(parts[0])), "RLIMIT_")
		if !slices.Contains(bundle.Rlimits, name) {
			return nil, fieldErrorf(at, "%q is not a resource limit", parts[0])
		}
		limit := specs.POSIXRlimit{Type: "RLIMIT_" + name}
		if limit.Soft, err = limitValue(parts[1]); err != nil {
			return nil, &FieldError{at, err}
		}
		if limit.Hard, err = limitValue(parts[2]); err != nil {
			return nil, &FieldError{at, err}
		}
		out = append(out, limit)
	}
	return out, nil
}

func limitValue(s string) (uint64, error) {
	s = strings.TrimSpace(s)
	if strings.EqualFold(s, "unlimited") {
		return math.MaxUint64, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a number nor unlimited", s)
	}
	return n, nil
}

// devices returns the nodes made in a container and the rules that allow their use.
func devices(in []config.Device) (nodes []specs.LinuxDevice, rules []specs.LinuxDeviceCgroup, err error) {
	const access = "rwm" // read, write, mknod
	for i, d := range in {
		rule := specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Access: access}
		if d.Path == "all" {
			rules = append(rules, rule)
			continue
		}
		perm, err := config.ParseMode(d.Mode)
		if err != nil {
			return nil, nil, &FieldError{fmt.Sprintf("devices[%d].mode", i), err}
		}
		mode := fs.FileMode(perm)
		nodes = append(nodes, specs.LinuxDevice{Path: d.Path, Type: d.Type, Major: d.Major, Minor: d.Minor, FileMode: &mode})
		if rule.Type == "u" {
			rule.Type = "c" // u is the same as c on Linux (mknod(1)).
		}
		if rule.Type != "b" && rule.Type != "c" {
			continue // Pipes need no rule, and others are refused.
		}
		rule.Major, rule.Minor = &d.Major, &d.Minor
		rules = append(rules, rule)
	}
	return nodes, rules, nil
}
