package vmtest

import (
	"os"
	"path/filepath"
	"testing"

	"keelson/testvm/qemu"
)

func TestKeep(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	disk := filepath.Join(from, "a.img")
	if err := os.WriteFile(disk, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := keep(to, "Linux version\n", []qemu.Disk{{Path: disk}}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"console.txt": "Linux version\n", "disk0-a.img": "data"} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := keep(to, "", []qemu.Disk{{Path: filepath.Join(from, "missing.img")}}); err == nil {
		t.Error("a disk that is not there was kept")
	}
}
