package oneshot

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// runc is built with methods that hide types from encoding/json until there are values of
// them (.ci/runc-source). It reads and writes the same with and without them.
func TestDeferredTypes(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	runProgram(t, ".ci/runc-source", source)
	var printed [2]string
	for i, flags := range [][]string{nil, {"-modfile=" + filepath.Join(source, "go.mod")}} {
		program := filepath.Join(dir, "deferred")
		runProgram(t, "go", append(append([]string{"build", "-o", program}, flags...), "./runtime/oneshot/testdata/deferred")...)
		printed[i] = runProgram(t, program)
	}
	if printed[0] != printed[1] {
		t.Errorf("upstream's types are\n%s\nwith the methods they are\n%s", printed[0], printed[1])
	}
	for _, part := range []string{`"ociVersion": "a \u003ctext\u003e \u0026 more"`, `"closID"`, `"blkio_weight_device"`, `"hypervisor"`} {
		if !strings.Contains(printed[1], part) {
			t.Errorf("%s is missing in\n%s", part, printed[1])
		}
	}
	for _, file := range []string{"runc/libcontainer/configs/deferred_linux.go", "runtime-spec/specs-go/deferred.go", "cgroups/deferred_linux.go"} {
		if _, err := os.Stat(filepath.Join(source, file)); err != nil {
			t.Error(err)
		}
	}
}

// runProgram runs a program in the root of the repository, and returns what it prints.
func runProgram(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = "../..", os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return string(out)
}
