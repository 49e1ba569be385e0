// Package tests boots images whose init is keelson and checks that they do what the
// documentation promises. It contains only tests; they need the guest that `make` builds
// in build/amd64/root.
//
// Images are built once per run of the package and shared, because a build takes
// processor time; every test boots its own machine. Tests run in parallel, as many as there
// are processors (go test -parallel): a machine without KVM keeps one busy. So a test must
// not change what others use: the environment, the working directory, or a shared folder
// or image (images and folders in main_test.go).
package tests
