package rescue

import (
	"errors"
	"path/filepath"

	"keelson/runtime/bundle"
)

// BundlesDir holds bundles for rescue. A service with the annotation
// keelson.role=rescue is one as well.
const BundlesDir = "/containers/rescue"

// FindShell returns the bundle of the image's shell: the first service with
// keelson.role=rescue, else the first bundle of BundlesDir, else nil. The error is
// about bundles of BundlesDir that cannot be read; the supervisor reports unreadable
// services.
func FindShell() (*bundle.Bundle, error) { return findShell(bundle.ServicesDir, BundlesDir) }

func findShell(services, own string) (*bundle.Bundle, error) {
	names, err := bundle.List(services)
	for _, name := range names {
		b, loadErr := bundle.Load(filepath.Join(services, name))
		if loadErr == nil && b.Settings.Role == bundle.RoleRescue {
			return b, err
		}
	}
	names, listErr := bundle.List(own)
	err = errors.Join(err, listErr)
	for _, name := range names {
		b, loadErr := bundle.Load(filepath.Join(own, name))
		if loadErr == nil {
			return b, err
		}
		err = errors.Join(err, loadErr)
	}
	return nil, err
}
