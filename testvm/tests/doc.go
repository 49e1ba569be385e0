// Package tests boots images whose init is keelson and checks that they do what the
// documentation promises. It contains only tests; they need the guest that `make` builds
// in build/amd64/root.
//
// Images are built once per run of the package and shared, because a build takes
// processor time; every test boots its own machine.
package tests
