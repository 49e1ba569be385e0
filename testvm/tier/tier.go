// Package tier sorts tests into the three tiers of the project (plain, root, VM) and
// marks the long ones. A test that cannot run is skipped with a reason; with
// KEELSON_NO_SKIP=1, as in CI, it fails instead.
package tier

import (
	"os"
	"os/exec"
	"testing"
)

// NoSkip is the environment variable that turns every skip into a failure.
const NoSkip = "KEELSON_NO_SKIP"

// Root marks a test of the root tier: it needs user ID 0.
func Root(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		Skip(t, "root tier: needs root")
	}
}

// VM marks a test of the VM tier, which -short omits.
func VM(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("VM tier: left out by -short")
	}
}

// Everything is the environment variable that includes the long tests.
const Everything = "KEELSON_EVERYTHING"

// Long marks a test that only make test-all runs because it takes long. NoSkip does not
// apply to it.
func Long(t testing.TB) {
	t.Helper()
	if os.Getenv(Everything) != "1" {
		t.Skip("long tier: left out without " + Everything + "=1 (make test-all)")
	}
}

// Extent returns how much of something a test does: more in make test-all than in make test.
func Extent(usual, everything int) int {
	if os.Getenv(Everything) == "1" {
		return everything
	}
	return usual
}

// Tool skips t if program is not in PATH; pkg is the Debian package that contains it.
func Tool(t testing.TB, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		Skip(t, "needs %s (Debian package %s)", program, pkg)
	}
}

// Skip skips t for the reason given, or fails it where skipping is forbidden.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(NoSkip) == "1" {
		t.Fatalf(NoSkip+"=1 forbids skipping: "+format, args...)
	}
	t.Skipf(format, args...)
}
