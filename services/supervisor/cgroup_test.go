package supervisor

import (
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
)

func TestProcessesIn(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"pods": "1000001\n1000002\n", "pods/own": "1000003\n", "pods/x": "1000004\n", "pods/x/deep": "1000005\n", "podsy": "1000006\n",
	} {
		put(t, filepath.Join(root, path, "cgroup.procs"), text)
	}
	for _, tt := range []struct {
		spare []string
		want  []int
	}{
		{nil, []int{1000001, 1000002, 1000003, 1000004, 1000005}},
		{[]string{"/pods", "/podsy", "/"}, []int{1000001, 1000002, 1000003, 1000004, 1000005}},
		{[]string{"/pods/x"}, []int{1000001, 1000002, 1000003}},
		{[]string{"/pods/x/deep"}, []int{1000001, 1000002, 1000003, 1000004}},
	} {
		c := cgroup{root, "/pods"}
		got := processesIn(c.dir(), c.nested(tt.spare))
		if slices.Sort(got); !slices.Equal(got, tt.want) {
			t.Errorf("without %v: %v, want %v", tt.spare, got, tt.want)
		}
	}
}

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
