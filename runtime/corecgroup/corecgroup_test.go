package corecgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseReserve(t *testing.T) {
	for text, want := range map[string]int64{
		"off": 0, "on": 128 << 20, "64MiB": 64 << 20, "64m": 64 << 20, "1GiB": 1 << 30, "1048576": 1 << 20,
		"": -1, "0": -1, "1": -1, "-64MiB": -1, "2TiB": -1, "yes": -1, "64 apples": -1,
	} {
		got, err := ParseReserve(text, 1<<30)
		if (want < 0) != (err != nil) || err == nil && got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for memory, want := range map[int64]int64{64 << 20: 48 << 20, 1 << 30: 128 << 20, 64 << 30: 256 << 20} {
		if got, err := ParseReserve("on", memory); err != nil || got != want {
			t.Errorf("on with %d: %d, want %d", memory, got, want)
		}
	}
}

func FuzzParseReserve(f *testing.F) {
	f.Add("64MiB")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseReserve(text, 1<<30); err == nil && n != 0 && (n < least || n > most) {
			t.Errorf("%q: %d", text, n)
		}
	})
}

func TestDefault(t *testing.T) {
	for root, want := range map[string]string{"/proc": "on", "/dev/shm": "off", "/none": "off"} {
		if got := defaultFor(root); got != want {
			t.Errorf("%s: %s, want %s", root, got, want)
		}
	}
}

// folder makes files like those of a root cgroup and that of the core.
func folder(t *testing.T, controllers string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{"cgroup.subtree_control": "", Name + "/memory.min": "", Name + "/cpu.weight": "", Name + "/cgroup.procs": ""}
	if controllers != "none" {
		files["cgroup.controllers"] = controllers
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestJoin(t *testing.T) {
	for _, tt := range []struct {
		name, controllers string
		reserve           int64
		missing           string // a file
		want              string // enabled, protected, weight, process
		fails             bool
	}{
		{"all", "cpuset cpu io memory pids\n", 64 << 20, "", "+memory +cpu 67108864 1000 0", false},
		{"off", "cpu memory\n", 0, "", "", false},
		{"without the controller", "cpu pids hugetlb\n", 64 << 20, "", "", false},
		{"of version 1", "none", 64 << 20, "", "", false},
		{"no protection", "cpu memory\n", 64 << 20, Name + "/memory.min", "+memory +cpu 1000", true},
		{"no weight", "cpu memory\n", 64 << 20, Name + "/cpu.weight", "+memory +cpu 67108864", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := folder(t, tt.controllers)
			if tt.missing != "" {
				if err := os.Remove(filepath.Join(root, tt.missing)); err != nil {
					t.Fatal(err)
				}
			}
			err := join(root, tt.reserve)
			if (err != nil) != tt.fails {
				t.Error(err)
			}
			var got []string
			for _, name := range []string{"cgroup.subtree_control", Name + "/memory.min", Name + "/cpu.weight", Name + "/cgroup.procs"} {
				text, _ := os.ReadFile(filepath.Join(root, name)) // It may be the one that is missing.
				got = append(got, strings.Fields(string(text))...)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("written: %q, want %q", got, tt.want)
			}
		})
	}
}

// A process that is elsewhere stays there.
func TestLeave(t *testing.T) {
	before, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if err := Leave(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile("/proc/self/cgroup"); err != nil || string(after) != string(before) {
		t.Errorf("%q, before %q: %v", after, before, err)
	}
}
