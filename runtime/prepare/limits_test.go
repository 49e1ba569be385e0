package prepare

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestLimitChanges(t *testing.T) {
	for _, tt := range []struct {
		file, have, want string
		changes          []string
	}{
		{"pids.max", "max\n", "7\n", []string{"7"}},
		{"pids.max", "7\n", "max\n", []string{"max"}},
		{"pids.max", "7\n", "7\n", nil},
		{"cpuset.cpus", "0-1\n", "\n", []string{""}},
		{"cpuset.cpus", "\n", "0\n", []string{"0"}},
		{"io.max", "", "8:0 rbps=1 wbps=max riops=max wiops=max\n", []string{"8:0 rbps=1 wbps=max riops=max wiops=max"}},
		{"io.max", "8:0 rbps=1 wbps=max riops=max wiops=max\n", "", []string{"8:0 rbps=max wbps=max riops=max wiops=max"}},
		{"io.max", "8:0 rbps=1\n8:16 rbps=1\n", "8:0 rbps=2\n8:16 rbps=1\n", []string{"8:0 rbps=2"}},
		{"io.weight", "default 100\n", "default 50\n8:0 20\n", []string{"default 50", "8:0 20"}},
		{"cpu.weight", "100\n", "0\n", nil},
		{"cpu.weight", "100\n", "10\n", []string{"10"}},
	} {
		if got := limitChanges(tt.file, tt.have, tt.want); !slices.Equal(got, tt.changes) {
			t.Errorf("%s, %q to %q: %q, want %q", tt.file, tt.have, tt.want, got, tt.changes)
		}
	}
}

func TestCopyLimitsOfEachHierarchy(t *testing.T) {
	root := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for file, value := range map[string]string{"memory/p/memory.limit_in_bytes": "1\n", "pids/p/pids.max": "max\n", "pids/p/pids.current": "2\n"} {
		write(file, value)
	}
	for file, value := range map[string]string{"memory/p/own/memory.limit_in_bytes": "4096\n", "pids/p/own/pids.max": "9\n", "pids/p/own/pids.current": "1\n"} {
		write(file, value)
	}
	if err := copyLimits(root, "/p/own", "/p"); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"memory/p/memory.limit_in_bytes": "4096\n", "pids/p/pids.max": "9\n", "pids/p/pids.current": "2\n"} {
		if got, err := os.ReadFile(filepath.Join(root, file)); string(got) != want {
			t.Errorf("%s: %q, want %q (%v)", file, got, want, err)
		}
	}
}
