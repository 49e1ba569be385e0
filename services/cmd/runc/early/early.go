//go:build runcmain

// Package early runs the second stage of runc, "runc init", before the initialisers of packages that only
// runc's command line or other parts of the program need. Go initialises packages in the order of their
// paths, as soon as those that they import are initialised (Go specification, Program initialization): this
// package comes as soon as libcontainer does, and package main last.
package early

import (
	"os"

	"github.com/opencontainers/runc/libcontainer"
)

func init() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		libcontainer.Init() // It does not return.
	}
}
