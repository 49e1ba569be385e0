package versions

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
	"keelson/runtime/imageconfig"
	"keelson/runtime/readfile"
)

// MergeImage makes a whole bundle of a container image in a folder of Stage, with the
// settings of service: the bundle of the image or of a version, as bundle.Load returns it. It
// returns the version, and what of the image is not used, for people.
//
// What the image gives (package imageconfig) replaces what service has, except the fields of
// its annotation keelson.swap.keep.
func (s *Store) MergeImage(staged string, meta artifact.Meta, service *bundle.Bundle) (version Target, notes []string, err error) {
	fail := func(err error) (Target, []string, error) {
		return "", nil, fmt.Errorf("cannot merge the container image with the settings of service %s: %w", service.Name, err)
	}
	if version, err = TargetOf(meta.Digest); err != nil {
		return fail(err)
	}
	if service.MapsUsers() {
		return fail(errors.New("its user namespace has other users and groups, whose IDs the files of the image do not have: make a bundle artifact with keelson bundle"))
	}
	image, label, err := readImage(filepath.Join(staged, artifact.ImageFile))
	if err != nil {
		return fail(err)
	}
	fields := imageconfig.Merge(service.ImageFields().Only(service.Settings.SwapKeep), label, image.Fields())
	if err := fields.Check(); err != nil {
		return fail(err)
	}
	config, runtime, err := service.ForImage(fields)
	if err != nil {
		return fail(err)
	}
	meta.Writable = !service.Spec.Root.Readonly
	if err := s.writeBundle(staged, meta, config, runtime); err != nil {
		return fail(err)
	}
	return version.mergedWith(config, runtime), notesOn(image, service), nil
}

// readImage reads the configuration of an image, which the staging process has left.
func readImage(path string) (image imageconfig.Image, label imageconfig.Fields, err error) {
	text, err := readfile.NoFollow(path, artifact.MaxDocument)
	if err != nil {
		return image, label, err
	}
	return imageconfig.Parse(text)
}

// writeBundle replaces the configuration of an image by the files of a bundle.
func (s *Store) writeBundle(staged string, meta artifact.Meta, config, runtime []byte) error {
	known, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{bundle.ConfigFile: config, bundle.RuntimeFile: runtime, artifact.File: append(known, '\n')} {
		if err := s.ops.WriteFile(filepath.Join(staged, name), text, 0o600); err != nil {
			return err
		}
	}
	return s.ops.Remove(filepath.Join(staged, artifact.ImageFile))
}

// notesOn returns what differs from what a container engine would do.
func notesOn(image imageconfig.Image, service *bundle.Bundle) (notes []string) {
	user := service.Spec.Process.User
	if image.User != "" {
		notes = append(notes, fmt.Sprintf("USER %.64q of the image is not used, as in a build: uid %d and gid %d of the service stay", image.User, user.UID, user.GID))
	}
	if service.Settings.SwapKeep != nil {
		notes = append(notes, fmt.Sprintf("%s of the service stay, not those of the image (%s)", strings.Join(service.Settings.SwapKeep, ", "), bundle.SwapKeepKey))
	}
	return notes
}
