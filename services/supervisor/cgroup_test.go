package supervisor

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"keelson/services/control"
)

func TestSharedCgroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(path string) string { return `},"linux":{"cgroupsPath":"` + path + `"` }
		r := newRig(t, newFake(), map[string]string{"a": at("/p"), "b": at("/p/b"), "c": at("/p/"), "d": ""})
		defer r.stop()
		for _, name := range []string{"a", "b", "d"} {
			r.is(t, name, "running", 0)
		}
		v := r.is(t, "c", "failed", 0)
		if want := "failed: services a and c share the cgroup /p: set another cgroupsPath for one of them"; v.Error != want {
			t.Errorf("reason %q", v.Error)
		}
	})
}

// Cgroups of bundles that change after the boot are checked too.
func TestCgroupsOfChangedBundles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(path string) string { return `},"linux":{"cgroupsPath":"` + path + `"` }
		r := newRig(t, newFake(), map[string]string{"a": at("/p"), "b": "", "c": brokenBundle})
		defer r.stop()
		change := func(name, path string) {
			config := `{"process":{"args":["x"]},"root":{"path":"rootfs"},"annotations":{` + at(path) + `}}`
			put(t, filepath.Join(r.options.Dir, name, "config.json"), config)
		}
		for _, step := range []struct{ verb, name, path, reason string }{
			{control.Restart, "b", "/p", "failed: services a and b share the cgroup /p: set another cgroupsPath for one of them"},
			{control.Start, "c", "/p", "failed: services a and c share the cgroup /p: set another cgroupsPath for one of them"},
			{control.Start, "b", "/p/b", "failed: its cgroup /p/b lies in the cgroup of service a, which was started without nested cgroups: restart a, then start b"},
			{control.Restart, "a", "/p", ""},
			{control.Start, "b", "/p/b", ""},
			{control.Restart, "a", "/q", ""},
			{control.Start, "c", "/p", ""},
		} {
			change(step.name, step.path)
			answer := r.Control(t.Context(), control.Request{Verb: step.verb, Names: []string{step.name}})
			if v := r.Control(t.Context(), control.Request{Verb: control.List, Names: []string{step.name}}).Services[0]; v.Error != step.reason {
				t.Errorf("%+v: %q (%+v)", step, v.Error, answer)
			}
		}
	})
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
