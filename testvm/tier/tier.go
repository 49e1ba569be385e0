// Package tier sorts tests into the three tiers of the project (plain, root,
// VM), tells the long ones apart, and keeps skipping honest: a test that cannot run says why, and where
// KEELSON_NO_SKIP=1 is set, as in CI, it fails instead.
package tier

import (
	"os"
	"os/exec"
	"testing"
)

// NoSkip is the environment variable that turns every skip into a failure.
const NoSkip = "KEELSON_NO_SKIP"

// Root marks a test of the root tier: it needs user id 0.
func Root(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		Skip(t, "root tier: needs root")
	}
}

// VM marks a test of the VM tier. It is left out under -short.
func VM(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("VM tier: left out by -short")
	}
}

// Everything is the environment variable that runs the long tests too.
const Everything = "KEELSON_EVERYTHING"

// Long marks a test that takes so long that only make test-all runs it. It is
// no test that cannot run: leaving it out is no skip in the sense of NoSkip.
func Long(t testing.TB) {
	t.Helper()
	if os.Getenv(Everything) != "1" {
		t.Skip("long tier: left out without " + Everything + "=1 (make test-all)")
	}
}

// Tool needs program on the PATH; pkg is the Debian package that brings it.
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
