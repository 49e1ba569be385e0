package runclog

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLastError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	text := `{"level":"warning","msg":"w"}` + "\n" + `{"level":"error","msg":"first"}` + "\nrubbish\n" +
		`{"level":"error","msg":"runc run failed: no such file"}` + "\n" + `{"level":"info","msg":"i"}` + "\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := LastError(path, 0); got != "runc run failed: no such file" {
		t.Errorf("got %q", got)
	}
	if got := LastError(path+"-", 0); got != "" {
		t.Errorf("missing log: %q", got)
	}
}
