package version

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The Makefile's flag reaches the variable: a name that the linker does not find is
// no error to it.
func TestStamped(t *testing.T) {
	program := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-ldflags", "-X keelson/runtime/version.stamped=v1.2.3-4-gabcdef0", "-o", program, "keelson/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(program, "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "init v1.2.3-4-gabcdef0 (go1.") {
		t.Errorf("init version: %q, %v", out, err)
	}
}

func TestWithoutStamp(t *testing.T) {
	defer func(old string) { stamped = old }(stamped)
	stamped = ""
	if v := String(); v == "" || strings.ContainsAny(v, " \n()") {
		t.Errorf("version %q", v)
	}
}
