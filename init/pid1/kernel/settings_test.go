package kernel

import (
	"os"
	"path/filepath"
	"testing"

	"keelson/runtime/cmdline"
)

func TestHugePageMode(t *testing.T) {
	for _, tt := range []struct {
		line   string
		memory uint64
		want   string
	}{
		{"", 64 << 20, "never"}, {"", 1 << 30, "never"}, {"quiet", 2<<30 - 1, "never"},
		{"", 2 << 30, "madvise"}, {"quiet", 512 << 30, "madvise"},
		{"transparent_hugepage=always", 64 << 20, ""}, {"transparent_hugepage=never", 512 << 30, ""}, {"transparent_hugepage", 1, ""},
	} {
		if got := hugePageMode(cmdline.Parse(tt.line), tt.memory); got != tt.want {
			t.Errorf("%q, %d bytes: %q, want %q", tt.line, tt.memory, got, tt.want)
		}
	}
}

func TestExpedite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rcu_expedited")
	if err := expedite(path, true); err != nil {
		t.Errorf("a kernel without rcu_expedited: %v", err)
	}
	for _, step := range []struct {
		on   bool
		want string
	}{{true, "1\n"}, {false, "0\n"}} {
		if err := os.WriteFile(path, []byte("x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := expedite(path, step.on); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != step.want {
			t.Errorf("%v: %q", step.on, got)
		}
	}
}
