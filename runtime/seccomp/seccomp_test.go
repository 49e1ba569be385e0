package seccomp

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

func bundleWith(value string, caps *specs.LinuxCapabilities, own *specs.LinuxSeccomp) *bundle.Bundle {
	s := &specs.Spec{Process: &specs.Process{Capabilities: caps}, Linux: &specs.Linux{Seccomp: own}}
	return &bundle.Bundle{Spec: s, Settings: bundle.Settings{Seccomp: value}}
}

// allows reports whether a filter has a rule without conditions that allows a system call.
func allows(filter *specs.LinuxSeccomp, call string) bool {
	return slices.ContainsFunc(filter.Syscalls, func(s specs.LinuxSyscall) bool {
		return s.Action == specs.ActAllow && len(s.Args) == 0 && slices.Contains(s.Names, call)
	})
}

func TestFilter(t *testing.T) {
	none := &specs.LinuxCapabilities{}
	for name, c := range map[string]struct {
		bundle *bundle.Bundle
		mount  bool // is allowed; nothing is if there is no filter
		want   bool // there is a filter
	}{
		"default":              {bundleWith("default", none, nil), false, true},
		"with the right":       {bundleWith("default", &specs.LinuxCapabilities{Bounding: []string{"CAP_SYS_ADMIN"}}, nil), true, true},
		"all capabilities":     {bundleWith("default", nil, nil), true, true},
		"empty filter":         {bundleWith("default", none, &specs.LinuxSeccomp{}), false, true},
		"own filter":           {bundleWith("default", none, &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}), false, false},
		"none":                 {bundleWith("none", none, nil), false, false},
		"not read from a file": {&bundle.Bundle{Settings: bundle.Settings{Seccomp: "default"}}, false, false},
		"no section for Linux": {&bundle.Bundle{Spec: &specs.Spec{}, Settings: bundle.Settings{Seccomp: "default"}}, true, true},
	} {
		filter, err := Filter(c.bundle)
		if err != nil || (filter != nil) != c.want {
			t.Errorf("%s: %v, %v", name, filter, err)
			continue
		}
		if filter == nil {
			continue
		}
		if filter.DefaultAction != specs.ActErrno || !allows(filter, "read") || allows(filter, "mount") != c.mount || len(filter.Architectures) == 0 {
			t.Errorf("%s: %+v", name, filter)
		}
		if refused := bundle.Refusals(&specs.Spec{Process: &specs.Process{Args: []string{"/x"}, Cwd: "/"}, Linux: &specs.Linux{Seccomp: filter}}); len(refused) > 0 {
			t.Errorf("%s: %v", name, refused)
		}
	}
}
