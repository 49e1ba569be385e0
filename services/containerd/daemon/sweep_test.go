package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSweep(t *testing.T) {
	root := t.TempDir()
	content := filepath.Join(root, "io.containerd.content.v1.content")
	for _, dir := range []string{".fsverity-check-17", ".fsverity-check-18", "blobs", "ingest"} {
		if err := os.MkdirAll(filepath.Join(content, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(content, ".fsverity-check-17", "supported"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	sweep(root)
	entries, err := os.ReadDir(content)
	if err != nil || len(entries) != 2 || entries[0].Name() != "blobs" || entries[1].Name() != "ingest" {
		t.Errorf("left are %v, %v", entries, err)
	}
}
