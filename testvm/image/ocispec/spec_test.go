package ocispec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/imageconfig"
	"keelson/testvm/image/config"
)

func ptr[T any](v T) *T { return &v }

func TestPrecedence(t *testing.T) {
	img := v1.Config{Entrypoint: []string{"/entry"}, Cmd: []string{"arg"}, Env: []string{"FROM=image"}, WorkingDir: "/w"}
	label := config.ImageConfig{
		Command: []string{"/label"}, Env: []string{"FROM=label"}, Cwd: "/l",
		Capabilities: []string{"CAP_CHOWN"}, Binds: []string{"/l:/l"}, PID: "host", Readonly: ptr(true),
	}
	tests := []struct {
		name  string
		c     Container
		check func(*specs.Spec) (got, want any)
	}{
		{"image's command", Container{Image: img}, func(s *specs.Spec) (any, any) { return s.Process.Args, []string{"/entry", "arg"} }},
		{"image's directory", Container{Image: img}, func(s *specs.Spec) (any, any) { return s.Process.Cwd, "/w" }},
		{"no directory", Container{}, func(s *specs.Spec) (any, any) { return s.Process.Cwd, "/" }},
		{"label's command", Container{Image: img, Label: label}, func(s *specs.Spec) (any, any) { return s.Process.Args, []string{"/label"} }},
		{"file's command", Container{Image: img, Label: label, YAML: config.ImageConfig{Command: []string{"/y"}}},
			func(s *specs.Spec) (any, any) { return s.Process.Args, []string{"/y"} }},
		{"empty environment", Container{Image: img, YAML: config.ImageConfig{Env: []string{}}},
			func(s *specs.Spec) (any, any) { return len(s.Process.Env), 0 }},
		{"no label, no capabilities", Container{}, func(s *specs.Spec) (any, any) { return len(s.Process.Capabilities.Bounding), 0 }},
		{"capabilities replaced", Container{Label: label, YAML: config.ImageConfig{Capabilities: []string{}}},
			func(s *specs.Spec) (any, any) { return len(s.Process.Capabilities.Bounding), 0 }},
		{"capabilities added", Container{Label: label, YAML: config.ImageConfig{CapabilitiesAdd: []string{"CAP_BPF", "CAP_CHOWN"}}},
			func(s *specs.Spec) (any, any) {
				return s.Process.Capabilities.Bounding, []string{"CAP_BPF", "CAP_CHOWN"}
			}},
		{"none", Container{Label: label, YAML: config.ImageConfig{Capabilities: []string{"none"}}},
			func(s *specs.Spec) (any, any) { return len(s.Process.Capabilities.Effective), 0 }},
		{"pid namespace of label", Container{Label: label}, func(s *specs.Spec) (any, any) { return len(s.Linux.Namespaces), 1 }},
		{"readonly overridden", Container{Label: label, YAML: config.ImageConfig{Readonly: ptr(false)}},
			func(s *specs.Spec) (any, any) { return s.Root.Readonly, false }},
		{"stop signal", Container{Image: v1.Config{StopSignal: "SIGQUIT"}},
			func(s *specs.Spec) (any, any) { return s.Annotations[imageconfig.StopSignalKey], "SIGQUIT" }},
		{"signal of the file", Container{Image: v1.Config{StopSignal: "SIGQUIT"}, YAML: config.ImageConfig{Annotations: map[string]string{imageconfig.StopSignalKey: "SIGINT"}}},
			func(s *specs.Spec) (any, any) { return s.Annotations[imageconfig.StopSignalKey], "SIGINT" }},
		{"label's signal is replaced with its annotations", Container{
			Label: config.ImageConfig{Annotations: map[string]string{imageconfig.StopSignalKey: "SIGINT"}}, YAML: config.ImageConfig{Annotations: map[string]string{"a": "b"}}},
			func(s *specs.Spec) (any, any) { return s.Annotations, map[string]string{"a": "b"} }},
		{"a swap keeps nothing of the image", Container{Service: true, Image: img, Label: label},
			func(s *specs.Spec) (any, any) { return s.Annotations[bundle.SwapKeepKey], "" }},
		{"a swap keeps fields of the file", Container{Service: true, Image: img, YAML: config.ImageConfig{
			Command: []string{"/y"}, Env: []string{}, Cwd: "/y", Annotations: map[string]string{imageconfig.StopSignalKey: "SIGINT"}}},
			func(s *specs.Spec) (any, any) {
				return s.Annotations[bundle.SwapKeepKey], "command,env,cwd,stop-signal"
			}},
		{"a swap keeps what the file says", Container{Service: true, YAML: config.ImageConfig{Command: []string{"/y"}, Annotations: map[string]string{bundle.SwapKeepKey: "env"}}},
			func(s *specs.Spec) (any, any) { return s.Annotations[bundle.SwapKeepKey], "env" }},
		{"only services are swapped", Container{YAML: config.ImageConfig{Command: []string{"/y"}}},
			func(s *specs.Spec) (any, any) { return s.Annotations[bundle.SwapKeepKey], "" }},
		{"binds added", Container{Label: label, YAML: config.ImageConfig{BindsAdd: []string{"/y:/y:ro"}}},
			func(s *specs.Spec) (any, any) { return bindsOf(s), []string{"/l", "/y"} }},
		{"binds replaced", Container{Label: label, YAML: config.ImageConfig{Binds: []string{"/y:/y:ro"}}},
			func(s *specs.Spec) (any, any) { return bindsOf(s), []string{"/y"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Spec(tt.c)
			if err != nil {
				t.Fatal(err)
			}
			got, want := tt.check(s)
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func bindsOf(s *specs.Spec) (out []string) {
	for _, m := range s.Mounts {
		if m.Type == "bind" {
			out = append(out, m.Destination)
		}
	}
	return out
}

func TestErrorsNameTheField(t *testing.T) {
	tests := []struct {
		field string
		yaml  config.ImageConfig
	}{
		{"capabilities[1]", config.ImageConfig{Capabilities: []string{"CAP_CHOWN", "CAP_FLY"}}},
		{"ambient[0]", config.ImageConfig{Ambient: []string{"chown"}}},
		{"rlimits[0]", config.ImageConfig{Rlimits: []string{"nofile,1"}}},
		{"rlimits[1]", config.ImageConfig{Rlimits: []string{"nofile,1,2", "files,1,2"}}},
		{"rlimits[0]", config.ImageConfig{Rlimits: []string{"nofile,1,-2"}}},
		{"uid", config.ImageConfig{UID: &config.ID{Name: "nobody"}}},
		{"additionalGids[1]", config.ImageConfig{AdditionalGids: []config.ID{{Num: 1}, {Name: "x"}}}},
		{"tmpfs[0]", config.ImageConfig{Tmpfs: []string{"/a:b:c"}}},
		{"binds[0]", config.ImageConfig{Binds: []string{"/a"}}},
		{"binds[1]", config.ImageConfig{Binds: []string{"/a:/a", "vol:/a"}}},
		{"binds[0]", config.ImageConfig{Binds: []string{"fixed:/a"}}},
		{"binds.add", config.ImageConfig{BindsAdd: []string{"/a"}}},
		{"mounts[0]", config.ImageConfig{Mounts: []specs.Mount{{Source: "x"}}}},
		{"devices[0].mode", config.ImageConfig{Devices: []config.Device{{Path: "/dev/x", Mode: "rw"}}}},
	}
	volumes := map[string]config.Volume{"fixed": {Name: "fixed", ReadOnly: true}}
	for _, tt := range tests {
		_, err := Spec(Container{YAML: tt.yaml, Volumes: volumes})
		var e *FieldError
		if !errors.As(err, &e) || e.Field != tt.field {
			t.Errorf("got %v, want an error of %s", err, tt.field)
		}
	}
}

func TestMounts(t *testing.T) {
	c := Container{
		YAML: config.ImageConfig{
			Mounts: []specs.Mount{
				{Source: "mqueue"}, {Destination: "/dev"},
				{Type: "bind", Source: "data", Destination: "/data", Options: []string{"rw"}},
			},
		},
		Volumes: map[string]config.Volume{"data": {Name: "data"}},
	}
	s, err := Spec(c)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range s.Mounts {
		got[m.Destination] = m.Type + " " + m.Source
	}
	want := map[string]string{
		"/data": "bind /containers/volumes/data/merged", "/dev": "tmpfs tmpfs", "/dev/mqueue": "mqueue mqueue",
		"/dev/pts": "devpts devpts", "/proc": "proc proc", "/sys": "sysfs sysfs", "/sys/fs/cgroup": "cgroup cgroup",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAllowedDevices(t *testing.T) {
	s, err := Spec(Container{YAML: config.ImageConfig{Devices: []config.Device{{Path: "all", Type: "b"}, {Path: "/dev/x", Type: "c", Major: 1, Minor: 2, Mode: "0600"}}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []specs.LinuxDeviceCgroup{
		{Allow: true, Type: "b", Access: "rwm"},
		{Allow: true, Type: "c", Major: ptr(int64(1)), Minor: ptr(int64(2)), Access: "rwm"},
	}
	if d := cmp.Diff(want, s.Linux.Resources.Devices); d != "" || len(s.Linux.Devices) != 1 {
		t.Errorf("%s %+v", d, s.Linux.Devices)
	}
}
