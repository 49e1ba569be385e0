// Package examples tests what a user copies from examples/, in namespaces on the host's kernel.
// Examples that need a machine are tested in testvm/tests.
package examples
