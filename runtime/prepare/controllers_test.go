package prepare

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"keelson/runtime/bundle"
)

func TestUnsupported(t *testing.T) {
	v1, v2 := t.TempDir(), t.TempDir()
	for _, dir := range []string{"cpu,cpuacct", "pids", "blkio"} {
		if err := os.Mkdir(filepath.Join(v1, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(v2, "cgroup.controllers"), []byte("cpu io pids\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for root, want := range map[string]string{v1: "[memory cpuset]", v2: "[memory cpuset]", "/nonexistent": "[]"} {
		limits := []bundle.ResourceLimit{{Controller: "cpu"}, {Controller: "memory"}, {Controller: "io"}, {Controller: "pids"}, {Controller: "cpuset"}}
		got := []string{}
		for _, l := range unsupported(root, limits) {
			got = append(got, l.Controller)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", root, got, want)
		}
	}
}
