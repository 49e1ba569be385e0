package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/imageconfig"
	"keelson/runtime/security"
	"keelson/testvm/image/config"
	"keelson/testvm/image/ocispec"
	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
)

// images gets images by reference.
type images interface {
	Image(ctx context.Context, ref string) (*source.Image, error)
	Layout(ctx context.Context, ref string, platforms []string) (*tree.Tree, error)
}

// assembler lays out the root of an image.
type assembler struct {
	doc    *config.Document
	images images
	expand func(ref string) string // replaces variables
	path   func(name string) string
	root   *tree.Tree
	lower  map[string]string // folder in the root of an image's files, by reference and owners
	ids    map[string]uint32
	names  *bundle.Names // cgroups in use by services

	services []security.Report // how far services are isolated, in their order
}

func newAssembler(doc *config.Document, imgs images, expand, path func(string) string) *assembler {
	return &assembler{doc: doc, images: imgs, expand: expand, path: path,
		root: tree.New(), lower: map[string]string{}, ids: doc.Config.IDs(), names: bundle.NewNames("services")}
}

// assembler returns an assembler with an empty root.
func (b *builder) assembler() *assembler {
	return newAssembler(b.doc, b.fetcher, b.expand, b.fetcher.Path)
}

// assemble makes the root, without the files of the kernel.
func (a *assembler) assemble(ctx context.Context) error {
	for _, part := range a.parts() {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// parts returns the functions that make the root, one for each image and file.
func (a *assembler) parts() (parts []func(context.Context) error) {
	add := func(part func(context.Context) error) { parts = append(parts, part) }
	for i, ref := range a.doc.Config.Init {
		add(func(ctx context.Context) error {
			return a.put(ctx, "", fmt.Sprintf("init[%d]", i), ref, true, ownership{})
		})
	}
	for i, v := range a.doc.Config.Volumes {
		add(func(ctx context.Context) error { return a.volume(ctx, i, v) })
	}
	for _, c := range containers(&a.doc.Config) {
		add(func(ctx context.Context) error {
			return a.container(ctx, path.Join("containers", c.folder), c.field, c.image)
		})
	}
	for i, f := range a.doc.Config.Files {
		add(func(context.Context) error { return a.file(fmt.Sprintf("files[%d]", i), f) })
	}
	return parts
}

// put adds an image's files below dir; field is the field that names the image.
func (a *assembler) put(ctx context.Context, dir, field, ref string, linkResolv bool, owners ownership) error {
	files, err := a.files(ctx, field, ref, linkResolv, owners)
	if err != nil {
		return err
	}
	a.root.MkdirAll(dir, 0o755, 0, 0)
	if dir != "" {
		putBelow(a.root, dir, files)
		return nil
	}
	return a.root.Merge("", files)
}

// files returns the files of an image as they go into a root.
func (a *assembler) files(ctx context.Context, field, ref string, linkResolv bool, owners ownership) (*tree.Tree, error) {
	img, err := a.images.Image(ctx, a.expand(ref))
	if err != nil {
		return nil, a.doc.ErrorAt(field, err)
	}
	files, err := standard(img.Files, linkResolv)
	if err != nil {
		return nil, a.doc.ErrorAt(field, err)
	}
	owners.apply(files)
	return files, nil
}

// putBelow adds files below dir. It does not follow symlinks.
func putBelow(root *tree.Tree, dir string, files *tree.Tree) {
	for _, e := range files.Entries() {
		e.Path = path.Join(dir, e.Path)
		root.Set(e)
	}
}

func (a *assembler) volume(ctx context.Context, i int, v config.Volume) error {
	dir := path.Join("containers/volumes", v.Name)
	for _, sub := range []string{"lower", "tmp", "merged"} {
		a.root.MkdirAll(path.Join(dir, sub), 0o755, 0, 0)
	}
	if v.Image == "" {
		return nil
	}
	field := fmt.Sprintf("volumes[%d].image", i)
	if v.Format != config.FormatOCI {
		return a.put(ctx, dir+"/lower", field, v.Image, true, ownership{})
	}
	files, err := a.images.Layout(ctx, a.expand(v.Image), v.Platforms)
	if err != nil {
		return a.doc.ErrorAt(field, err)
	}
	putBelow(a.root, dir+"/lower", files)
	return nil
}

func (a *assembler) container(ctx context.Context, dir, field string, img config.Image) error {
	spec, runtime, err := a.settings(ctx, field, img)
	if err != nil {
		return err
	}
	a.assess(field, img.Name, spec, runtime)
	if err := a.addCgroup(field, path.Base(dir), spec.Linux.CgroupsPath); err != nil {
		return a.doc.ErrorAt(field, err)
	}
	lower, err := a.containerRoot(ctx, dir, field+".image", img.Image, spec)
	if err != nil {
		return err
	}
	runtime.Mounts = append(ocispec.RootMounts(dir, lower, spec.Root.Readonly), runtime.Mounts...)
	return putBundle(a.root, dir, spec, runtime)
}

// assess records how far a service is isolated.
func (a *assembler) assess(field, name string, spec *specs.Spec, runtime bundle.Runtime) {
	if !strings.HasPrefix(field, "services[") {
		return
	}
	b := &bundle.Bundle{Name: name, Spec: spec, Runtime: runtime}
	b.Settings, _ = bundle.ParseSettings(spec.Annotations) // Validate has reported mistakes.
	b.ApplyCapabilities()
	if b.Settings.Role != bundle.RoleRescue {
		a.services = append(a.services, security.Assess(b))
	}
}

// settings returns the content of the two files of a bundle.
func (a *assembler) settings(ctx context.Context, field string, img config.Image) (*specs.Spec, bundle.Runtime, error) {
	var runtime bundle.Runtime
	got, err := a.images.Image(ctx, a.expand(img.Image))
	if err != nil {
		return nil, runtime, a.doc.ErrorAt(field+".image", err)
	}
	c := ocispec.Container{
		YAML: img.ImageConfig, Image: got.Config,
		IDs: a.ids, Volumes: ocispec.Volumes(a.doc.Config.Volumes), Service: strings.HasPrefix(field, "services["),
	}
	if label := got.Config.Labels[imageconfig.Label]; label != "" {
		if c.Label, err = config.ParseLabel(img.Image, label); err != nil {
			return nil, runtime, a.doc.ErrorAt(field+".image", err)
		}
	}
	spec, err := ocispec.Spec(c)
	if err != nil {
		return nil, runtime, a.fieldError(field, err)
	}
	if errs := ocispec.Validate(c, spec); len(errs) > 0 {
		for i := range errs {
			errs[i] = a.fieldError(field, errs[i])
		}
		return nil, runtime, errors.Join(errs...)
	}
	if runtime, err = ocispec.Runtime(c); err != nil {
		return nil, runtime, a.fieldError(field, err)
	}
	return spec, runtime, nil
}

// addCgroup refuses a container that would share its cgroup with another one that runs
// at the same time.
func (a *assembler) addCgroup(field, name, configured string) error {
	cgroup := bundle.CgroupPath(configured, name)
	switch {
	case strings.HasPrefix(field, "services["):
		return a.names.AddCgroup(name, cgroup)
	case strings.HasPrefix(field, "onshutdown["):
		return a.names.AddShutdownCgroup(name, cgroup)
	}
	return nil
}

// containerRoot makes a bundle's directories, and returns the directory of the image's
// files. The first bundle of an image holds them; other bundles with the same owners
// share them.
func (a *assembler) containerRoot(ctx context.Context, dir, field, ref string, spec *specs.Spec) (lower string, err error) {
	sub := "lower"
	if spec.Root.Readonly {
		sub = "rootfs"
	} else {
		a.root.MkdirAll(dir+"/tmp", 0o755, 0, 0)
	}
	a.root.MkdirAll(dir+"/rootfs", 0o755, 0, 0)
	owners := ownershipOf(spec)
	key := ref + owners.key()
	if a.lower[key] == "" {
		a.lower[key] = path.Join(dir, sub)
		top := tree.Entry{Path: a.lower[key], Type: tree.Dir, Mode: 0o755}
		a.root.Set(owners.of(top))
		err = a.put(ctx, a.lower[key], field, ref, false, owners)
	}
	return a.lower[key], err
}

// fieldError adds file and line to an error about a field of a container.
func (a *assembler) fieldError(field string, err error) error {
	var fe *ocispec.FieldError
	if errors.As(err, &fe) {
		return a.doc.ErrorAt(field+"."+fe.Field, fe.Err)
	}
	return a.doc.ErrorAt(field, err)
}

// putBundle adds the two files of a bundle to dir.
func putBundle(root *tree.Tree, dir string, spec *specs.Spec, runtime bundle.Runtime) error {
	return errors.Join(putJSON(root, path.Join(dir, bundle.ConfigFile), spec), putJSON(root, path.Join(dir, bundle.RuntimeFile), runtime))
}

func putJSON(root *tree.Tree, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	root.Set(tree.Entry{Path: name, Type: tree.File, Mode: 0o644, Data: b})
	return nil
}

// expander returns a function that replaces ${ARCH} with the target's architecture and
// the reference "keelson" with the guest's tree.
func expander(arch, guestRoot string) func(string) string {
	return func(ref string) string {
		if ref == "keelson" && guestRoot != "" {
			return "dir:" + guestRoot
		}
		return strings.ReplaceAll(ref, "${ARCH}", arch)
	}
}
