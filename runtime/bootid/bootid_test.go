package bootid

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRead(t *testing.T) {
	for text, ok := range map[string]bool{
		"9f3c21aa-0b1c-4d5e-8f90-a1b2c3d4e5f6\n": true, "": false, "9f3c21aa": false, "x": false,
		"9f3c21aa-0b1c-4d5e-8f90-a1b2c3d4e5f6f7\n": false,
	} {
		path := filepath.Join(t.TempDir(), "boot_id")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		id, err := read(path)
		if (err == nil) != ok || ok && (id[0] != 0x9f || id[Size-1] != 0xf6) {
			t.Errorf("%q: %x, %v", text, id, err)
		}
	}
	if _, err := read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that does not exist is read")
	}
	if id, err := Read(); err != nil || id == [Size]byte{} {
		t.Errorf("this boot: %x, %v", id, err)
	}
}
