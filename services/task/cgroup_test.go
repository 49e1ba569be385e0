package task

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"keelson/runtime/procfs"
)

func TestProcessesIn(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"pods": "1000001\n1000002\n", "pods/own": "1000003\n", "pods/x": "1000004\n", "pods/x/deep": "1000005\n", "podsy": "1000006\n",
	} {
		file := filepath.Join(root, path, "cgroup.procs")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
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
		c := cgroup{root: root, path: "/pods"}
		got := processesIn(c.dir(), c.nested(tt.spare))
		if slices.Sort(got); !slices.Equal(got, tt.want) {
			t.Errorf("without %v: %v, want %v", tt.spare, got, tt.want)
		}
	}
}

func TestFindCgroup(t *testing.T) {
	for _, tt := range []struct {
		cgroups, own string
		want         cgroup
	}{
		{"0::/web\n", "0::/\n", cgroup{"/sys/fs/cgroup", "/web", false}},
		{"0::/web/keelson.own\n", "0::/\n", cgroup{"/sys/fs/cgroup", "/web", true}},
		{"0::/web\n", "0::/web/below\n", cgroup{}},
		{"0::/web\n", "0::/webby\n", cgroup{"/sys/fs/cgroup", "/web", false}},
		{"0::/\n", "0::/\n", cgroup{}},
		{"5:cpu,cpuacct:/a\n4:pids:/b\n0::/\n", "5:cpu,cpuacct:/\n4:pids:/\n0::/\n", cgroup{"/sys/fs/cgroup/pids", "/b", false}},
		{"4:pids:/b\n0::/c\n", "4:pids:/b\n0::/\n", cgroup{"/sys/fs/cgroup", "/c", false}},
		{"", "", cgroup{}},
	} {
		if got := findCgroup(procfs.ParseCgroup(tt.cgroups), procfs.ParseCgroup(tt.own)); got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.cgroups, got, tt.want)
		}
	}
}
