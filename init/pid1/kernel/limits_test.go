package kernel

import (
	"os"
	"path/filepath"
	"testing"

	"keelson/runtime/cmdline"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Limits that the kernel does not have are left out; a failed write is an error.
func TestRaiseSharedLimits(t *testing.T) {
	dir := t.TempDir()
	must(t, raiseSysctls(dir, nil))
	file := filepath.Join(dir, "fs/inotify/max_user_instances")
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.MkdirAll(filepath.Join(dir, "kernel/pid_max"), 0o755))
	if err := raiseSysctls(dir, nil); err == nil {
		t.Error("no error for a limit that cannot be written")
	}
	if got, _ := os.ReadFile(file); string(got) != "2147483647" {
		t.Errorf("limit is %q", got)
	}
}

// Limits that the kernel command line sets are not raised.
func TestSharedLimitsOfCommandLine(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"user/max_user_namespaces", "fs/file-max", "kernel/pty/max", "kernel/keys/maxkeys"} {
		file := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte("7"), 0o600))
		files = append(files, file)
	}
	line := cmdline.Parse("sysctl.user.max_user_namespaces=0 sysctl/fs/file-max=7 sysctl.kernel.pty/max=7 sysctl.kernel.keys.maxkeys")
	must(t, raiseSysctls(dir, line))
	for i, want := range []string{"7", "7", "7", "2000"} {
		if got, _ := os.ReadFile(files[i]); string(got) != want {
			t.Errorf("%s is %q, want %s", files[i], got, want)
		}
	}
}
