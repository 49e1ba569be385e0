// Package blockio has the functions that containerd uses of the package with this path, without
// classes of block I/O: those come from a file of the host that keelson's configuration never names.
// The limits of linux.resources.blockIO in config.json do not need it.
package blockio

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// errNone is the answer to whoever names a file of classes, or a class.
var errNone = errors.New("this containerd has no classes of block I/O; set linux.resources.blockIO in config.json")

// SetConfigFromFile reads a file of classes: an error, always.
func SetConfigFromFile(string, bool) error { return errNone }

// OciLinuxBlockIO returns the limits of a class: an error, always.
func OciLinuxBlockIO(string) (*specs.LinuxBlockIO, error) { return nil, errNone }

// ContainerClassFromAnnotations returns the class that annotations name: none.
func ContainerClassFromAnnotations(string, map[string]string, map[string]string) (string, error) {
	return "", nil
}
