package prepare

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The folder stands for cgroups of another version, which cannot be delegated.
func TestCanDelegate(t *testing.T) {
	err := canDelegate(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "annotation keelson.delegate: ") {
		t.Errorf("error %v", err)
	}
}

// Only a moved process and enabled controllers make a cgroup that a service can divide.
func TestDelegateFiles(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{"cgroup.controllers": "memory pids\n", "cgroup.subtree_control": ""} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	procs := filepath.Join(dir, FirstCgroup, "cgroup.procs")
	if err := os.Mkdir(filepath.Dir(procs), 0o755); err != nil { // of an attempt before
		t.Fatal(err)
	}
	if err := os.WriteFile(procs, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := delegate(dir, 7, 0); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{procs: "7", filepath.Join(dir, "cgroup.subtree_control"): "+pids"} {
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s holds %q, want %q (%v)", path, text, want, err)
		}
	}
}
