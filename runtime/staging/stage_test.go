package staging

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"keelson/testvm/tier"
)

// childProgram builds the program that the children of these tests are: it is static, as
// the guest's is.
var childProgram = sync.OnceValues(func() (string, error) {
	var err error
	if childDir, err = os.MkdirTemp("", "staging"); err != nil {
		return "", err
	}
	path := filepath.Join(childDir, "child")
	cmd := exec.Command("go", "build", "-o", path, "keelson/runtime/staging/testdata/child")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
})

var childDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if childDir != "" {
		os.RemoveAll(childDir)
	}
	os.Exit(code)
}

func options(t *testing.T) Options {
	t.Helper()
	tier.Root(t)
	program, err := childProgram()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Program: program, Architecture: "amd64"}
}

func TestStage(t *testing.T) {
	o := options(t)
	i := newImage(t)
	i.add("amd64", i.artifact(i.layer(file("bin/x", "text"))))
	dir := t.TempDir()
	meta, err := Stage(t.Context(), o, dir, bytes.NewReader(i.tar()))
	if err != nil {
		t.Fatal(err)
	}
	if meta.Name != "web" {
		t.Errorf("meta %+v", meta)
	}
	data, err := os.ReadFile(filepath.Join(dir, "rootfs/bin/x"))
	if err != nil || string(data) != "text" {
		t.Errorf("rootfs/bin/x: %q, %v", data, err)
	}
}
