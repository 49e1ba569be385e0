package staging

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"path/filepath"

	"keelson/runtime/artifact"
	"keelson/runtime/programs"
)

// writePrograms makes the files of a version of keelson's own programs, and completes meta.
// The manifest and the list of programs are kept as they are, so that package verify can
// follow their digests.
func writePrograms(l *layout, c choice, meta *artifact.Meta) error {
	list, err := l.read(c.manifest.Config)
	if err == nil {
		_, err = programs.ParseList(list)
	}
	if err != nil {
		return fmt.Errorf("cannot read the configuration of the artifact: %w", err)
	}
	manifest, err := l.read(c.descriptor)
	if err == nil {
		err = errors.Join(writeFile(l.root, programs.ManifestFile, manifest), writeFile(l.root, programs.ListFile, list))
	}
	if err == nil {
		err = l.root.Mkdir(artifact.RootDir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("cannot write the programs: %w", err)
	}
	meta.Size, err = applyLayers(l, c.manifest.Layers, filepath.Join(l.root.Name(), artifact.RootDir), checkProgram)
	return err
}

// checkProgram refuses entries of a layer that are none of the programs.
func checkProgram(h *tar.Header) error {
	if err := checkEntry(h); err != nil {
		return err
	}
	if h.Uid != 0 || h.Gid != 0 {
		return fmt.Errorf("owner %d:%d, want root", h.Uid, h.Gid)
	}
	name := path.Clean(h.Name)
	switch {
	case h.Typeflag == tar.TypeDir && (name == "." || programs.IsFolder(name)):
		return nil
	case h.Typeflag == tar.TypeSymlink && programs.MayLink(name) && h.Linkname == programs.LinkTarget:
		return nil
	case h.Typeflag == tar.TypeReg && programs.CheckName(name) == nil:
		return nil
	case programs.CheckName(name) == nil:
		return errors.New("it is no file, nor a link that leads to " + programs.LinkTarget)
	}
	return programs.CheckName(name)
}
