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
	// CmdLineVariable holds the command line of a system in userspace mode. The kernel
	// command line is meant for the outer system.
	CmdLineVariable = "KEELSON_CMDLINE"
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
	Own     []string // namespaces that belong to the system in userspace mode
	CmdLine string   // replaces the kernel command line in userspace mode
}

// Machine returns the environment of a machine.
func Machine() Environment { return Environment{Machine: true} }

// Inside returns the environment of a system inside another one, with the namespaces
// that belong to it and its command line.
func Inside(own []string, cmdLine string) Environment {
	return Environment{Own: own, CmdLine: cmdLine}
}

// Read returns the environment that PID 1 has passed to this process.
func Read() Environment {
	value := os.Getenv(variable)
	if value == "" {
		return Machine()
	}
	var own []string
	if value != none {
		own = strings.Split(value, ",")
	}
	return Inside(own, os.Getenv(CmdLineVariable))
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
		all = append(all, CmdLineVariable+"="+e.CmdLine)
	}
	return all
}

// Owns reports whether the system may change a namespace.
func (e Environment) Owns(namespace string) bool {
	return e.Machine || slices.Contains(e.Own, namespace)
}
