// Package rdt has the functions that containerd uses of the package with this path, without
// classes of the processor's caches (Intel RDT): those come from a file of the host that keelson's
// configuration never names. The limits of linux.intelRdt in config.json do not need it.
package rdt

import "errors"

// errNone is the answer to whoever names a file of classes.
var errNone = errors.New("this containerd has no classes of Intel RDT; set linux.intelRdt in config.json")

// Initialize looks for the kernel's support: an error, always.
func Initialize(string) error { return errNone }

// SetConfigFromFile reads a file of classes: an error, always.
func SetConfigFromFile(string, bool) error { return errNone }

// ContainerClassFromAnnotations returns the class that annotations name: none.
func ContainerClassFromAnnotations(string, map[string]string, map[string]string) (string, error) {
	return "", nil
}
