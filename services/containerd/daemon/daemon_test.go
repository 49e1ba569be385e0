package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRemoveLeftovers(t *testing.T) {
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
	removeLeftovers(root)
	entries, err := os.ReadDir(content)
	if err != nil || len(entries) != 2 || entries[0].Name() != "blobs" || entries[1].Name() != "ingest" {
		t.Errorf("%v, %v, want blobs and ingest", entries, err)
	}
}

func TestWithoutServing(t *testing.T) {
	for line, want := range map[string]string{"--version": "containerd github.com/containerd/containerd/v2 2.", "-h": "usage: containerd"} {
		var out bytes.Buffer
		if err := run([]string{line}, &out); err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%s: %q, %v", line, out.String(), err)
		}
	}
}
