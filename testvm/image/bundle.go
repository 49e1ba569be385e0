package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/testvm/image/config"
	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
)

// WriteBundle writes the OCI bundle of one container of o's files to dir: config.json
// as Build writes it, and the files of the container's image in rootfs. runtime.json
// lacks the mounts that make rootfs in an image, where containers of the same image
// share its files.
//
// container is a name, or a folder in an image such as onboot/000-sysctl. Device nodes
// and owners of files need root (tree.WriteDir). dir must be empty or not exist; it is
// left alone unless the bundle is complete.
func WriteBundle(ctx context.Context, o Options, container, dir string) error {
	doc, err := o.parse()
	if err != nil {
		return err
	}
	if err := o.complete(); err != nil {
		return err
	}
	c, err := findContainer(&doc.Config, container)
	if err != nil {
		return fmt.Errorf("%s: %w", o.File, err)
	}
	b := newBuilder(o, doc)
	if kind, _ := source.Split(b.expand(c.image.Image)); kind == source.Deb {
		if err := requireTools(debTools); err != nil {
			return err
		}
	}
	files, err := b.assembler().bundle(ctx, c.field, c.image)
	if err != nil {
		return err
	}
	return writeNew(dir, files.WriteDir)
}

// container is a container of a YAML file.
type container struct {
	field  string // in the file
	folder string // in an image, below /containers
	image  config.Image
}

// containers returns all containers of a file, by section.
func containers(c *config.Config) (all []container) {
	for _, s := range c.Sections() {
		for i, img := range s.Images {
			name := img.Name
			if s.Name != "services" { // Others are numbered, and run in that order.
				name = fmt.Sprintf("%03d-%s", i, img.Name)
			}
			all = append(all, container{fmt.Sprintf("%s[%d]", s.Name, i), s.Name + "/" + name, img})
		}
	}
	return all
}

// findContainer returns the container of that name or folder.
func findContainer(c *config.Config, name string) (container, error) {
	var found []container
	var folders []string
	for _, one := range containers(c) {
		folders = append(folders, one.folder)
		if one.folder == name {
			return one, nil
		}
		if one.image.Name == name {
			found = append(found, one)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return container{}, fmt.Errorf("cannot find container %q: there are %s", name, strings.Join(folders, ", "))
	}
	folders = nil
	for _, one := range found {
		folders = append(folders, one.folder)
	}
	return container{}, fmt.Errorf("cannot choose container %q: name one of %s", name, strings.Join(folders, ", "))
}

// contents is what a bundle is made of.
type contents struct {
	spec    *specs.Spec
	runtime bundle.Runtime // without the mounts that make rootfs in an image
	files   *tree.Tree     // of the root
	owners  ownership
}

// contents gets the contents of a container's bundle.
func (a *assembler) contents(ctx context.Context, field string, img config.Image) (c contents, err error) {
	if c.spec, c.runtime, err = a.settings(ctx, field, img); err != nil {
		return c, err
	}
	c.owners = ownershipOf(c.spec)
	c.files, err = a.files(ctx, field+".image", img.Image, false, c.owners)
	return c, err
}

// top returns the folder of the root.
func (c contents) top() tree.Entry {
	return c.owners.of(tree.Entry{Path: "rootfs", Type: tree.Dir, Mode: 0o755})
}

// bundle returns the bundle of a container with its files in rootfs.
func (a *assembler) bundle(ctx context.Context, field string, img config.Image) (*tree.Tree, error) {
	c, err := a.contents(ctx, field, img)
	if err != nil {
		return nil, err
	}
	root := tree.New()
	root.Set(c.top())
	putBelow(root, "rootfs", c.files)
	return root, putBundle(root, "", c.spec, c.runtime)
}

// checkEmpty refuses a folder that has files.
func checkEmpty(dir string) error {
	switch present, err := os.ReadDir(dir); {
	case len(present) > 0:
		return fmt.Errorf("cannot write %s: the folder is not empty", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot write %s: %w", dir, err)
	}
	return nil
}

// writeNew writes all that write writes, or nothing, to a folder that is empty or does not
// exist.
func writeNew(dir string, write func(dir string) error) error {
	if err := checkEmpty(dir); err != nil {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("cannot write %s: %w", dir, err)
	}
	temporary, err := os.MkdirTemp(parent, ".bundle-")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", dir, err)
	}
	defer os.RemoveAll(temporary)
	if err := write(temporary); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot write %s: %w", dir, err)
	}
	if err := errors.Join(os.Chmod(temporary, 0o755), os.Rename(temporary, dir)); err != nil {
		return fmt.Errorf("cannot write %s: %w", dir, err)
	}
	return nil
}
