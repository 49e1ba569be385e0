package task

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

func TestRefusals(t *testing.T) {
	for text, want := range map[string]int{"max 3\n": 3, "max 0\n": 0, "": 0, "other 1\nmax 12\n": 12, "max x\n": 0} {
		if got := refusals(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestLimitsPids(t *testing.T) {
	none, some := int64(-1), int64(5)
	for _, tt := range []struct {
		resources *specs.LinuxResources
		want      bool
	}{
		{nil, false},
		{&specs.LinuxResources{}, false},
		{&specs.LinuxResources{Pids: &specs.LinuxPids{}}, false},
		{&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &none}}, false},
		{&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &some}}, true},
		{&specs.LinuxResources{Unified: map[string]string{"pids.max": "5"}}, true},
	} {
		b := &bundle.Bundle{Spec: &specs.Spec{Linux: &specs.Linux{Resources: tt.resources}}}
		if got := limitsPids(b); got != tt.want {
			t.Errorf("%+v: %v", tt.resources, got)
		}
	}
}
