package prepare

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestPrivateDir(t *testing.T) {
	tmpfs := func(at string, options ...string) specs.Mount {
		return specs.Mount{Destination: at, Type: "tmpfs", Source: "tmpfs", Options: options}
	}
	bind := func(at string) specs.Mount {
		return specs.Mount{Destination: at, Type: "bind", Source: at, Options: []string{"rbind"}}
	}
	for _, tt := range []struct {
		name, propagation string
		mounts            []specs.Mount
		want              string
	}{
		{"as LinuxKit writes it", "", []specs.Mount{bind("/etc"), tmpfs("/dev", "nosuid", "strictatime", "mode=755", "size=65536k")}, "/dev/keelson"},
		{"read-only, as LinuxKit writes it", "", []specs.Mount{tmpfs("/run"), tmpfs("/dev", "mode=755", "ro"), bind("/run")}, "/dev/keelson"},
		{"root is shared", "rshared", []specs.Mount{tmpfs("/run"), tmpfs("/dev")}, ""},
		{"host's /dev", "", []specs.Mount{tmpfs("/dev"), bind("/dev")}, ""},
		{"host's /dev, own /run", "", []specs.Mount{tmpfs("/run"), bind("/dev")}, "/run/keelson"},
		{"of others too", "", []specs.Mount{tmpfs("/run", "rshared"), bind("/dev")}, ""},
		{"not for every user", "", []specs.Mount{tmpfs("/run", "mode=700"), bind("/dev")}, ""},
		{"covered from above", "", []specs.Mount{tmpfs("/a/b"), bind("/a")}, ""},
		{"no mounts", "", nil, ""},
	} {
		s := &specs.Spec{Mounts: tt.mounts, Linux: &specs.Linux{
			RootfsPropagation: tt.propagation, Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}},
		}}
		got, mount := PrivateDir(s)
		if got != tt.want || mount.Destination != got {
			t.Errorf("%s: %q, want %q; mount %+v", tt.name, got, tt.want, mount)
		}
		s.Linux.Namespaces[0].Path = "/run/ns"
		if got, _ := PrivateDir(s); got != "" {
			t.Errorf("%s, in the mount namespace of another: %q", tt.name, got)
		}
	}
	if got, _ := PrivateDir(&specs.Spec{}); got != "" {
		t.Errorf("an empty spec: %q", got)
	}
}
