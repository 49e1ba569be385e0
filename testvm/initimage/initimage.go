package initimage

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"keelson/testvm/image"
	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/tree"
)

// nameAnnotation names the image in LinuxKit's cache, together with
// ocilayout.RefAnnotation.
const nameAnnotation = "io.containerd.image.name"

// Options of an image.
type Options struct {
	Name  string            // full reference: registry, repository and tag
	Trees map[string]string // folder of the root by architecture
	Kind  Kind              // the zero value is Init
	// Packages are in place of those of the kind.
	Packages string
	// Debian returns the files of packages, separated by commas; for a kind that has some.
	Debian func(arch, packages string) (*tree.Tree, error)
}

// epoch is the modification time of everything in the image.
var epoch = time.Unix(0, 0).UTC()

// Write writes the layout as a tar archive.
func Write(w io.Writer, o Options) error {
	tag, err := parseName(o.Name)
	if err != nil {
		return err
	}
	if o.Kind.Program == "" {
		o.Kind = Init
	}
	index, err := makeIndex(tag, o)
	if err != nil {
		return err
	}
	files, err := ocilayout.FromIndex(index, map[string]string{nameAnnotation: o.Name, ocilayout.RefAnnotation: o.Name},
		func(v1.Descriptor) bool { return true })
	if err != nil {
		return fmt.Errorf("cannot make init image %s: %w", o.Name, err)
	}
	return files.WriteTar(w, epoch)
}

// parseName accepts only full references: LinuxKit completes a name without registry or
// tag, and would not find the image.
func parseName(s string) (name.Tag, error) {
	tag, err := name.NewTag(s, name.StrictValidation)
	if err != nil {
		return tag, fmt.Errorf("cannot name the init image %q: want REGISTRY/REPOSITORY:TAG: %w", s, err)
	}
	return tag, nil
}

// makeIndex returns an index with an image for every tree, sorted by architecture.
func makeIndex(tag name.Tag, o Options) (v1.ImageIndex, error) {
	trees := o.Trees
	if len(trees) == 0 {
		return nil, fmt.Errorf("cannot make init image %s: no tree given", tag)
	}
	archs := make([]string, 0, len(trees))
	for arch := range trees {
		archs = append(archs, arch)
	}
	slices.Sort(archs)
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range archs {
		img, err := makeImage(tag, arch, o)
		if err != nil {
			return nil, fmt.Errorf("cannot make init image of %s for %s: %w", trees[arch], arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: arch},
		}})
	}
	return index, nil
}

func makeImage(tag name.Tag, arch string, o Options) (v1.Image, error) {
	kind := o.Kind
	if arch != "amd64" && arch != "arm64" {
		return nil, fmt.Errorf("architecture %q is neither amd64 nor arm64", arch)
	}
	files, err := tree.FromDir(o.Trees[arch])
	if err == nil && kind.Packages != "" {
		files, err = withPackages(files, arch, o)
	}
	if err != nil {
		return nil, err
	}
	if err := check(files, kind.Program); err != nil {
		return nil, err
	}
	for _, link := range kind.Links {
		if _, taken := files.Get(link); taken {
			return nil, fmt.Errorf("a package has a file %s, the name of a link to %s", link, kind.Program)
		}
		if err := files.Put(tree.Entry{Path: link, Type: tree.Symlink, Link: "/" + kind.Program, Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	if kind.nodes {
		for _, e := range image.Nodes() {
			files.Set(e)
		}
	}
	config := *kind.Config.DeepCopy()
	config.WorkingDir = "/"
	if config.Labels == nil {
		config.Labels = map[string]string{}
	}
	config.Labels["org.opencontainers.image.title"] = kind.Title
	config.Labels["org.opencontainers.image.version"] = tag.TagStr()
	return ocilayout.Image(files, ocilayout.Options{Arch: arch, Time: epoch, CreatedBy: "keelson init-image", Config: config})
}

// withPackages returns the files of Debian's packages, and those of a tree over them.
func withPackages(files *tree.Tree, arch string, o Options) (*tree.Tree, error) {
	if o.Debian == nil {
		return nil, fmt.Errorf("an image %s needs Debian's packages", o.Kind.Title)
	}
	all, err := o.Debian(arch, cmp.Or(o.Packages, o.Kind.Packages))
	if err != nil {
		return nil, err
	}
	all = all.Clone()
	return all, all.Merge("", files)
}

// check returns an error if files lack a program or cannot be a layer.
func check(files *tree.Tree, program string) error {
	if e, ok := files.Get(program); !ok || e.Type != tree.File || e.Mode&0o111 == 0 {
		return fmt.Errorf("the tree has no program %s", program)
	}
	for _, e := range files.Entries() {
		if strings.HasPrefix(e.Path[strings.LastIndex(e.Path, "/")+1:], ".wh.") {
			return fmt.Errorf("file %s has the name of a whiteout, which removes files in images", e.Path)
		}
	}
	return nil
}
