package bundle

import (
	"errors"
	"path/filepath"
)

// RescueDir holds bundles for rescue. A service with the annotation
// keelson.role=rescue is one as well.
const RescueDir = "/containers/rescue"

// FindRescue returns the bundle of the image's shell: the first service with
// keelson.role=rescue, else the first bundle of RescueDir, else nil. The error is
// about bundles of RescueDir that cannot be read; the supervisor reports unreadable
// services.
func FindRescue() (*Bundle, error) { return FindRescueIn(ServicesDir, RescueDir) }

// FindRescueIn does the same for folders of services and of bundles for rescue.
func FindRescueIn(services, own string) (*Bundle, error) {
	names, err := List(services)
	for _, name := range names {
		b, loadErr := Load(filepath.Join(services, name))
		if loadErr == nil && b.Settings.Role == RoleRescue {
			return b, err
		}
	}
	names, listErr := List(own)
	err = errors.Join(err, listErr)
	for _, name := range names {
		b, loadErr := Load(filepath.Join(own, name))
		if loadErr == nil {
			return b, err
		}
		err = errors.Join(err, loadErr)
	}
	return nil, err
}
