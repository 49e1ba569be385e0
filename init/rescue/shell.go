package rescue

import (
	"errors"
	"path/filepath"

	"keelson/runtime/bundle"
)

// BundlesDir is where an image may keep bundles for rescue, besides services
// whose annotation keelson.role says that they are none.
const BundlesDir = "/containers/rescue"

// FindShell gives the bundle of the image's shell, or nil: the first service
// with keelson.role=rescue, else the first of BundlesDir. The error is about
// those of the latter that cannot be read; services that cannot are told by
// the supervisor.
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
