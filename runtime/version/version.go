// Package version holds the version of this build of keelson, the same for all of
// its binaries. The Makefile sets it from git-describe(1); what `go build` alone
// made has the version that the Go command records (runtime/debug.BuildInfo), a
// tag or a pseudo-version of a commit. It never comes from the clock: the same
// sources give the same bytes.
package version

import (
	"runtime"
	"runtime/debug"
)

// stamped is set by -ldflags "-X keelson/runtime/version.stamped=VERSION".
var stamped string

// unknown is the version of sources that are in no repository.
const unknown = "unknown"

// String returns the version of keelson, "unknown" when nothing recorded one.
func String() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Path != "keelson" || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return unknown
	}
	return info.Main.Version
}

// Line returns what a program called name prints for its version command: the
// version, the Go release and the platform it was built with and for.
func Line(name string) string {
	return name + " " + String() + " (" + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + ")"
}
