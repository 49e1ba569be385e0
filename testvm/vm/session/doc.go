// Package session runs one machine for a person: with its console on the
// terminal, or unattended until it is ready or has shut down, with a table of
// what its boot did and how long that took. It is `keelson run`; tests use
// package vm.
//
// A guest that panics, hangs, degrades or does not power itself down is an
// error that carries the last lines of its console.
//
// Sources: keelson/runtime/timeline for boot events; QEMU's own ctrl-a keys
// for the escape on the terminal.
package session
