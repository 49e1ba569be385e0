package task

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"keelson/runtime/procfs"
	"keelson/testvm/nstest"
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

func TestMadeIn(t *testing.T) {
	for _, tt := range []struct{ cgroups, want string }{
		{"0::/web\n", "/web"},
		{"0::/web/keelson.own\n", "/web/keelson.own"},
		{"0::/web/keelson.own/init\n", "/web/keelson.own"},
		{"0::/web/init\n", "/web"}, // It moved itself.
		{"0::/old\n", "/old"},      // The bundle was changed.
		{"0::/webby\n", "/webby"},
		{"0::/old/keelson.own/init\n", "/old/keelson.own"},
		{"5:cpu,cpuacct:/a\n4:pids:/web/x\n0::/\n", "/web"},
		{"4:pids:/b\n0::/c\n", "/b"},
		{"0::/\n", ""},
		{"", ""},
	} {
		if got := madeIn(procfs.ParseCgroup(tt.cgroups), "/web"); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.cgroups, got, tt.want)
		}
	}
}

func TestHoldsTheSupervisor(t *testing.T) {
	for _, tt := range []struct {
		own  string
		c    cgroup
		want bool
	}{
		{"0::/\n", cgroup{root: cgroupRoot, path: "/web"}, false},
		{"0::/webby\n", cgroup{root: cgroupRoot, path: "/web"}, false},
		{"0::/web/below\n", cgroup{root: cgroupRoot, path: "/web"}, true},
		{"4:pids:/web\n0::/\n", cgroup{root: cgroupRoot, path: "/web"}, false},
		{"4:pids:/web\n0::/\n", cgroup{root: cgroupRoot + "/pids", path: "/web"}, true},
	} {
		if got := slices.ContainsFunc(procfs.ParseCgroup(tt.own), tt.c.holds); got != tt.want {
			t.Errorf("%q: %v", tt.own, got)
		}
	}
}

// The record says where a container is, also when its first process has left.
func TestAdoptedPlacement(t *testing.T) {
	before := Placement{Path: "/web", Others: []string{"/other"}}
	for made, want := range map[string]Placement{
		"/web":             before,
		"/old":             {Path: "/old", Others: before.Others},
		"/old/keelson.own": {Path: "/old", Outer: true, Others: before.Others},
	} {
		got := before.adopted(os.Getpid(), &Record{Cgroup: made})
		if got.Path != want.Path || got.Outer != want.Outer || !slices.Equal(got.Others, want.Others) || got.made() != made {
			t.Errorf("%s: %+v", made, got)
		}
	}
}

// A container whose first process has moved itself to a cgroup below its own is killed
// whole, by a later supervisor too.
func TestKillMoved(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		first, second := sleeper(t), sleeper(t)
		const service = "/keelson-test-moved"
		t.Cleanup(func() { _ = os.Remove(filepath.Join(hierarchy(), service)) })
		for path, pid := range map[string]int{"init": first.Process.Pid, "work": second.Process.Pid} {
			dir := filepath.Join(hierarchy(), service, path)
			t.Cleanup(func() { _ = os.Remove(dir) })
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, pid), 0); err != nil {
				t.Fatal(err)
			}
		}
		place := Placement{Path: service}.adopted(first.Process.Pid, nil)
		p, err := OpenProcess(first.Process.Pid, place)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.KillAll(nil); err != nil {
			t.Error(err)
		}
		for _, c := range []*exec.Cmd{first, second} {
			_ = c.Wait() // It would not end.
		}
	})
}

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sleep", "infinity")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}
