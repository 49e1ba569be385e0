package versions

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
)

// Load reads the bundle of a service in dir, which is a version or the bundle of the
// image.
func Load(dir, name string) (*bundle.Bundle, error) {
	b, err := bundle.Load(dir)
	if err != nil {
		return nil, err
	}
	b.Name = name
	var meta artifact.Meta
	if known, err := readJSON(filepath.Join(dir, artifact.File), &meta); err != nil || !known {
		return b, err
	}
	if b.Image, err = imageOf(dir, name, meta); err != nil {
		return nil, err
	}
	if meta.Writable {
		b.Runtime.Mounts = append(writableRoot(dir), b.Runtime.Mounts...)
	}
	return b, nil
}

// imageOf returns the root of a version that has it as an erofs image.
func imageOf(dir, name string, meta artifact.Meta) (*bundle.Image, error) {
	file := filepath.Join(dir, artifact.RootErofs)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	_, hex, _ := strings.Cut(meta.Digest, ":")
	if meta.RootHash == "" || len(hex) < nameDigits {
		return nil, fmt.Errorf("cannot mount the root of %s: %s has no dm-verity hash tree: make the artifact with keelson bundle --root erofs",
			dir, artifact.RootErofs)
	}
	return &bundle.Image{
		File: file, Target: filepath.Join(dir, artifact.RootDir), RootHash: meta.RootHash, HashOffset: meta.VerityOffset,
		Blocks: meta.VerityBlocks, Salt: meta.VeritySalt,
		Name: name[:min(len(name), nameBytes)] + "-" + hex[:nameDigits],
	}, nil
}

// The name of an image has the beginning of the name of the service, and the first digits of
// the digest: that of a device-mapper device has at most 127 bytes.
const (
	nameBytes  = 60
	nameDigits = 40
)

// LoadCurrent reads the current bundle of a service, with the image's in the folder
// images. It is nil if the service does not exist or was removed.
func (s *Store) LoadCurrent(images, name string) (*bundle.Bundle, error) {
	state, err := s.Read(name)
	if err != nil {
		return nil, err
	}
	switch state.Current {
	case Removed:
		return nil, nil
	case Image:
		dir := filepath.Join(images, name)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return Load(dir, name)
	}
	return Load(s.Folder(name, state.Current), name)
}

// writableRoot returns the mounts that cover the root of a version by an overlay in memory,
// as services of an image have it: what a container writes is gone after its end, and the
// version stays as it was checked.
func writableRoot(dir string) []bundle.Mount {
	root, tmp := filepath.Join(dir, artifact.RootDir), filepath.Join(dir, "tmp")
	return []bundle.Mount{
		{Destination: tmp, Type: "tmpfs", Source: "tmpfs"},
		{Destination: tmp, Options: []string{"remount", "private"}},
		{Destination: root, Type: "overlay", Source: "overlay", Options: []string{
			"lowerdir=" + root, "upperdir=" + filepath.Join(tmp, "upper"), "workdir=" + filepath.Join(tmp, "work"),
		}},
	}
}
