package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/uuid"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
	"keelson/testvm/image/config"
	"keelson/testvm/image/format"
	"keelson/testvm/image/fsimage"
	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
)

// Kinds of the root in a bundle artifact.
const (
	RootLayers = "layers" // a layer, which a machine unpacks
	RootErofs  = "erofs"  // a file system with a dm-verity tree, which a machine mounts
	RootBoth   = "both"   // both; a machine mounts the file system if its kernel can
)

// Artifact says what a bundle artifact holds.
type Artifact struct {
	Service string   // its name, or its folder in an image
	Archs   []string // one manifest each; the host's if empty
	Root    string   // RootLayers if empty
}

// Manifest identifies what was written for one architecture.
type Manifest struct {
	Digest string
	Arch   string // empty if it is unknown
}

// WriteArtifact writes the bundle artifact (package runtime/artifact) of one service of
// o's files. config.json is as Build writes it. runtime.json lacks the mounts that make
// rootfs in an image.
func WriteArtifact(ctx context.Context, o Options, a Artifact, to Target) ([]Manifest, error) {
	doc, err := o.parse()
	if err != nil {
		return nil, err
	}
	service, err := findService(&doc.Config, a.Service)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.File, err)
	}
	if err := to.check(); err != nil {
		return nil, err
	}
	makers, err := artifactMakers(o, doc, service, a)
	if err != nil {
		return nil, err
	}
	temporary, err := os.MkdirTemp("", "keelson-bundle-")
	if err != nil {
		return nil, fmt.Errorf("cannot make an artifact: %w", err)
	}
	defer os.RemoveAll(temporary)
	var layout ocilayout.Layout
	var made []Manifest
	for _, m := range makers {
		m.temporary = temporary
		digest, err := m.add(ctx, &layout)
		if err != nil {
			return nil, err
		}
		made = append(made, Manifest{digest, m.Arch})
	}
	return made, to.write(&layout, makers[0].ModTime)
}

// findService returns the service of that name or folder.
func findService(c *config.Config, name string) (container, error) {
	if found, err := findContainer(&config.Config{Services: c.Services}, name); err == nil {
		return found, nil
	}
	found, err := findContainer(c, name)
	if err != nil {
		return container{}, err
	}
	return container{}, fmt.Errorf("cannot make an artifact of %s: only services can be replaced on a running machine", found.folder)
}

// artifactMaker makes the artifact of a service for one architecture.
type artifactMaker struct {
	*builder
	service   container
	root      string // kind
	tag       string // in index.json, for tools that select a manifest by its tag
	temporary string // folder
}

// artifactMakers returns one for each architecture, after it has checked what they need.
func artifactMakers(o Options, doc *config.Document, service container, a Artifact) ([]artifactMaker, error) {
	kind := cmp.Or(a.Root, RootLayers)
	if !slices.Contains([]string{RootLayers, RootErofs, RootBoth}, kind) {
		return nil, fmt.Errorf("cannot make an artifact with a root of kind %q: use %s, %s or %s", kind, RootLayers, RootErofs, RootBoth)
	}
	archs := slices.Clone(a.Archs)
	if len(archs) == 0 {
		archs = []string{o.Arch}
	}
	var makers []artifactMaker
	for _, o.Arch = range archs {
		one := o
		if err := one.complete(); err != nil {
			return nil, err
		}
		m := artifactMaker{builder: newBuilder(one, doc), service: service, root: kind, tag: one.Arch}
		if slices.ContainsFunc(makers, func(other artifactMaker) bool { return other.Arch == m.Arch }) {
			return nil, fmt.Errorf("cannot make an artifact for %s twice", m.Arch)
		}
		if err := m.requireTools(); err != nil {
			return nil, err
		}
		makers = append(makers, m)
	}
	if len(makers) == 1 {
		makers[0].tag = "latest"
	}
	return makers, nil
}

func (m artifactMaker) requireTools() error {
	var need []tool
	if kind, _ := source.Split(m.expand(m.service.image.Image)); kind == source.Deb {
		need = slices.Clone(debTools)
	}
	if m.root != RootLayers {
		f, err := format.Find(format.KernelErofs)
		if err != nil {
			return err
		}
		for _, t := range f.Tools(m.Arch) {
			need = append(need, tool{t.Program, t.Package})
		}
	}
	return requireTools(need)
}

// add adds the artifact to a layout and returns the digest of its manifest.
func (m artifactMaker) add(ctx context.Context, layout *ocilayout.Layout) (string, error) {
	img, err := m.image(ctx)
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	return digest.String(), layout.AddImage(img, map[string]string{ocilayout.RefAnnotation: m.tag},
		&v1.Platform{OS: "linux", Architecture: m.Arch})
}

func (m artifactMaker) image(ctx context.Context) (v1.Image, error) {
	c, err := m.assembler().contents(ctx, m.service.field, m.service.image)
	if err != nil {
		return nil, err
	}
	files := tree.New()
	if err := putBundle(files, "", c.spec, c.runtime); err != nil {
		return nil, err
	}
	configFile, _ := files.Get(bundle.ConfigFile)
	runtimeFile, _ := files.Get(bundle.RuntimeFile)
	runtime, err := ocilayout.Bytes(artifact.RuntimeType, runtimeFile.Data)
	if err != nil {
		return nil, err
	}
	root, err := m.packRoot(ctx, c)
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{
		artifact.TitleKey: m.service.image.Name, artifact.Architecture: m.Arch,
		artifact.CreatedKey: m.ModTime.UTC().Format(time.RFC3339),
	}
	if !c.spec.Root.Readonly {
		annotations[artifact.RootWritable] = "true"
	}
	return ocilayout.Artifact(artifact.Type, artifact.ConfigType, configFile.Data, append([]ocilayout.Blob{runtime}, root...), annotations)
}

// packRoot packs the root of the service.
func (m artifactMaker) packRoot(ctx context.Context, c contents) (root []ocilayout.Blob, err error) {
	task := m.Progress.Start("packing the root of " + m.service.image.Name + " for " + m.Arch)
	defer func() { task.Done(err) }()
	if m.root != RootErofs {
		top := c.top()
		layer, err := ocilayout.Layer(c.files, m.ModTime, top.UID, top.GID)
		if err != nil {
			return nil, err
		}
		root = append(root, layer)
	}
	if m.root != RootLayers {
		image, err := m.fileSystem(ctx, c)
		if err != nil {
			return nil, err
		}
		root = append(root, image)
	}
	return root, nil
}

// fileSystem makes the root as a file system that is followed by a hash tree.
func (m artifactMaker) fileSystem(ctx context.Context, c contents) (ocilayout.Blob, error) {
	h := sha256.New()
	_ = tree.WriteCPIO(h, append([]tree.Entry{c.top()}, c.files.Entries()...), m.ModTime, nil) // A hash never fails.
	id := uuid.NewSHA1(uuid.NameSpaceOID, h.Sum(nil))
	file, top := filepath.Join(m.temporary, m.Arch+".erofs"), c.top()
	if err := (fsimage.Root{Tree: c.files, Time: m.ModTime, ID: id, UID: top.UID, GID: top.GID}).Make(ctx, "erofs", file); err != nil {
		return ocilayout.Blob{}, err
	}
	hashes, err := fsimage.AddVerity(file, id)
	if err != nil {
		return ocilayout.Blob{}, fsimage.OrFull(m.temporary, err)
	}
	root, err := ocilayout.File(artifact.ErofsType, file)
	root.Annotations = map[string]string{
		artifact.VerityRootHash: hashes.RootHash, artifact.VerityOffset: strconv.FormatInt(hashes.Offset, 10),
		artifact.VerityBlocks: strconv.FormatInt(hashes.Blocks, 10), artifact.VeritySalt: hashes.Salt,
	}
	return root, err
}
