// Package userspace tells the processes that /init starts whether it is the
// machine's first process or, in userspace mode, lives inside another system
// (a container, a namespace), and which namespaces it then has to itself. What
// belongs to the outer system is left alone. It does not find that out:
// /init does and hands it on in the environment.
//
// Sources: namespaces(7).
package userspace

import (
	"os"
	"slices"
	"strings"
)

// Variable is the environment variable: the namespaces /init has to itself,
// separated by commas, or None. Without it there is no outer system.
const (
	Variable = "KEELSON_USERSPACE"
	None     = "none"
)

// Namespaces, by their names in /proc/PID/ns.
const (
	Mount   = "mnt"
	Network = "net"
	UTS     = "uts"
)

// Inside tells whether there is an outer system.
func Inside() bool { return os.Getenv(Variable) != "" }

// Owns tells whether namespace is ours to change.
func Owns(namespace string) bool {
	return !Inside() || slices.Contains(strings.Split(os.Getenv(Variable), ","), namespace)
}
