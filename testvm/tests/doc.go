// Package tests boots images whose init is keelson and checks that they do
// what the documentation promises. It holds tests alone; they need what `make`
// has built under build/amd64/root.
//
// Images are built once per run of the package and shared, because a build
// costs processor time; every test boots its own machine.
package tests
