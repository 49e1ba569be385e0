// Package session implements `keelson run`: it runs one machine with its console on the
// terminal, or unattended until it is ready or has shut down, and then prints a table of
// the steps of the boot and their times. Tests use package vm.
//
// If a guest panics, hangs, degrades or does not power itself down, the error contains
// the last lines of its console.
//
// Sources: keelson/runtime/timeline for boot events; QEMU's own ctrl-a keys
// for the escape on the terminal.
package session
