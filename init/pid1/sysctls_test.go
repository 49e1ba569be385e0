package pid1

import (
	"os"
	"path/filepath"
	"testing"
)

// What the kernel lacks is left out, and what cannot be written is named.
func TestRaiseSharedLimits(t *testing.T) {
	dir := t.TempDir()
	must(t, raiseSharedLimits(dir))
	file := filepath.Join(dir, "fs/inotify/max_user_instances")
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.MkdirAll(filepath.Join(dir, "kernel/pid_max"), 0o755))
	if err := raiseSharedLimits(dir); err == nil {
		t.Error("a folder was written to")
	}
	if got, _ := os.ReadFile(file); string(got) != "2147483647" {
		t.Errorf("limit is %q", got)
	}
}
