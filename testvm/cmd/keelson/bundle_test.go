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
// built.
func TestBundleSign(t *testing.T) {
	tier.Tool(t, "minisign", "minisign")
	dir := t.TempDir()
	secret, public, root := filepath.Join(dir, "secret"), filepath.Join(dir, "public"), filepath.Join(dir, "web")
	if out, err := exec.Command("minisign", "-G", "-W", "-p", public, "-s", secret).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	yaml := filepath.Join(dir, "web.yml")
	text := "services:\n  - {name: web, image: \"dir:" + root + "\", command: [/run]}\n"
	if err := errors.Join(os.Mkdir(root, 0o755), os.WriteFile(filepath.Join(root, "run"), nil, 0o755), os.WriteFile(yaml, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	c := bundleCmd{File: []string{yaml}, Service: "web", Out: filepath.Join(dir, "web.tar"), Sign: secret, Cache: filepath.Join(dir, "cache")}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := (&verifyCmd{Artifact: c.Out, Key: []string{public}}).Run(); err != nil {
		t.Error(err)
	}
	for out, want := range map[string]string{stdout: "standard output", filepath.Join(dir, "folder"): "--format oci"} {
		c.Out = out
		if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-o %s: %v", out, err)
		}
	}
}
