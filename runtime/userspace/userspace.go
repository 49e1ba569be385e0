// Package userspace describes the environment of a keelson system: a machine of
// its own or, in userspace mode, another system (a container, namespaces), which
// leaves it some namespaces to itself. What belongs to that outer system is not
// touched.
//
// PID 1 detects the environment and passes it to its children in environment
// variables; a child reads it once with Read.
//
// Sources: namespaces(7).
package userspace

import (
	"os"
	"slices"
	"strings"
)

const (
	// variable holds the namespaces that the system has to itself, separated by
	// commas, or none. Without it the system has a machine of its own.
	variable = "KEELSON_USERSPACE"
	none     = "none"
	// cmdlineVariable takes the place of the kernel command line in userspace mode,
	// where the kernel's is meant for the outer system.
	cmdlineVariable = "KEELSON_CMDLINE"
)

// Namespaces, by their names in /proc/PID/ns.
const (
	Mount   = "mnt"
	Network = "net"
	UTS     = "uts"
)

// Environment is where a system runs.
type Environment struct {
	Machine bool     // a machine of its own: there is no outer system
	Own     []string // namespaces it has to itself in userspace mode
	CmdLine string   // takes the place of the kernel command line in userspace mode
}

// Machine returns the environment of a machine.
func Machine() Environment { return Environment{Machine: true} }

// Inside returns the environment of a system inside another one that has some
// namespaces to itself. Its command line is in KEELSON_CMDLINE.
func Inside(own []string) Environment {
	return Environment{Own: own, CmdLine: os.Getenv(cmdlineVariable)}
}

// Read returns the environment that PID 1 has passed to this process.
func Read() Environment {
	value := os.Getenv(variable)
	if value == "" {
		return Machine()
	}
	if value == none {
		return Inside(nil)
	}
	return Inside(strings.Split(value, ","))
}

// Variables returns the environment variables that pass e to a child.
func (e Environment) Variables() []string {
	if e.Machine {
		return nil
	}
	value := strings.Join(e.Own, ",")
	if value == "" {
		value = none
	}
	all := []string{variable + "=" + value}
	if e.CmdLine != "" {
		all = append(all, cmdlineVariable+"="+e.CmdLine)
	}
	return all
}

// Owns reports whether the system may change a namespace.
func (e Environment) Owns(namespace string) bool {
	return e.Machine || slices.Contains(e.Own, namespace)
}
