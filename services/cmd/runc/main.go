//go:build runcmain

// Package main is a part of runc's: .ci/runc-source adds the files of this folder to a copy of runc's source, as
// parts of the package github.com/opencontainers/runc and of packages below it, and `make guest` builds runc from
// the copy, with the tag runcmain. The files may use all that is in upstream's package main, and packages of
// keelson and of go.mod. Without the tag they are part of no package: `make lint` vets them in a copy.
package main

import _ "github.com/opencontainers/runc/early" // Does what "runc init" does, before all that it does not need.
