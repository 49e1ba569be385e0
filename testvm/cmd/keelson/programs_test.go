package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/tier"
)

// --sign signs as keelson sign does. What cannot be signed is refused before anything is
// written.
func TestProgramsSign(t *testing.T) {
	tier.Tool(t, "minisign", "minisign")
	dir := t.TempDir()
	secret, public, root := filepath.Join(dir, "secret"), filepath.Join(dir, "public"), filepath.Join(dir, "root")
	if out, err := exec.Command("minisign", "-G", "-W", "-p", public, "-s", secret).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err := errors.Join(err, os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755), os.WriteFile(filepath.Join(root, "usr/bin/runc"), program, 0o755)); err != nil {
		t.Fatal(err)
	}
	c := programsCmd{Dir: []string{root}, Out: filepath.Join(dir, "programs.tar"), Sign: secret}
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if err := (&verifyCmd{Artifact: c.Out, Key: []string{public}}).Run(); err != nil {
		t.Error(err)
	}
	c.Out = stdout
	if err := c.Run(); err == nil || !strings.Contains(err.Error(), "standard output") {
		t.Errorf("-o -: %v", err)
	}
}
