package image

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/config"
	"keelson/testvm/image/debian"
	"keelson/testvm/image/format"
	"keelson/testvm/image/kernel"
	"keelson/testvm/image/modules"
	"keelson/testvm/image/progress"
	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
)

// Build makes an image and writes it to the output folder in every format asked
// for. It writes all formats or none.
func Build(ctx context.Context, o Options) (Output, error) {
	doc, err := o.parse()
	if err != nil {
		return Output{}, err
	}
	if err := o.complete(); err != nil {
		return Output{}, err
	}
	b := newBuilder(o, doc)
	if err := b.chooseFormats(); err != nil {
		return Output{}, err
	}
	if err := b.checkTools(); err != nil {
		return Output{}, err
	}
	return b.build(ctx)
}

// Merged returns the files of o as one YAML file. It is checked as far as possible
// without the images it names.
func Merged(o Options) ([]byte, error) {
	doc, err := o.parse()
	if err != nil {
		return nil, err
	}
	return doc.YAML()
}

// parse reads the YAML files.
func (o *Options) parse() (*config.Document, error) {
	var inputs []config.Input
	for _, f := range append(slices.Clone(o.Before), YAMLFile{o.File, o.YAML}) {
		base, err := relative(filepath.Dir(o.File), filepath.Dir(f.Name))
		if err != nil {
			return nil, fmt.Errorf("cannot use relative paths of %s: %w", f.Name, err)
		}
		in := config.Input{Name: f.Name, Source: f.Data, Base: base}
		if f.Name == Stdin {
			in.Name = "standard input"
		}
		inputs = append(inputs, in)
	}
	return config.ParseAll(inputs)
}

// relative returns the path of a folder relative to another.
func relative(from, to string) (string, error) {
	from, err := filepath.Abs(from)
	if err != nil {
		return "", err
	}
	if to, err = filepath.Abs(to); err != nil {
		return "", err
	}
	return filepath.Rel(from, to)
}

// complete fills in defaults.
func (o *Options) complete() error {
	if o.Arch == "" {
		o.Arch = runtime.GOARCH
	}
	if format.Triple(o.Arch) == "" {
		return fmt.Errorf("cannot build for architecture %q: amd64, arm64, riscv64 and s390x are supported", o.Arch)
	}
	if err := checkCompression(o.Compression); err != nil {
		return err
	}
	if o.Name == "" {
		o.Name = nameOf(o.File)
	}
	if o.Progress == nil {
		o.Progress = progress.Discard
	}
	if o.ModTime.IsZero() {
		o.ModTime = time.Unix(0, 0)
	}
	return o.completePaths()
}

// completePaths makes paths absolute: apt takes no others.
func (o *Options) completePaths() (err error) {
	if o.GuestRoot != "" {
		if o.GuestRoot, err = filepath.Abs(o.GuestRoot); err != nil {
			return err
		}
	}
	if o.CacheDir == "" {
		if o.CacheDir, err = cache.Dir(); err != nil {
			return err
		}
	}
	o.CacheDir, err = filepath.Abs(o.CacheDir)
	return err
}

// Packages returns the files of an image deb:LIST for the architecture of o, with its cache.
func Packages(ctx context.Context, o Options, list string) (*tree.Tree, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	img, err := newBuilder(o, nil).fetcher.Image(ctx, source.Deb+":"+list)
	if err != nil {
		return nil, err
	}
	return img.Files, nil
}

// nameOf returns the name of the image of a YAML file.
func nameOf(file string) string {
	if file == Stdin {
		return stdinName
	}
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

type builder struct {
	Options
	doc     *config.Document
	expand  func(string) string
	fetcher *source.Fetcher
	formats []format.Format
}

// newBuilder expects complete options.
func newBuilder(o Options, doc *config.Document) *builder {
	return &builder{
		Options: o, doc: doc, expand: expander(o.Arch, o.GuestRoot),
		fetcher: &source.Fetcher{
			Arch: o.Arch, Base: filepath.Dir(o.File), CacheDir: o.CacheDir, Refresh: o.Refresh, Progress: o.Progress,
			Debian: &debian.Archive{Arch: o.Arch, CacheDir: o.CacheDir, Refresh: o.Refresh, Progress: o.Progress},
		},
	}
}

// chooseFormats looks up the formats asked for and refuses options that none of them
// supports.
func (b *builder) chooseFormats() (err error) {
	names := b.Formats
	if len(names) == 0 {
		names = []string{format.KernelInitrd}
	}
	if b.formats, err = format.Select(names, b.Arch); err != nil {
		return fmt.Errorf("cannot build: %w", err)
	}
	for _, f := range b.formats {
		if f.Kernel && b.doc.Config.Kernel.Image == "" {
			return b.doc.Errorf("kernel.image", "is missing, and format %s needs a kernel", f.Name)
		}
	}
	sized := func(f format.Format) bool { return f.Sized }
	if b.Size != 0 && !slices.ContainsFunc(b.formats, sized) {
		return errors.New("cannot build of a given size: none of the formats is a disk with partitions")
	}
	forBoard := func(f format.Format) bool { return f.Start == format.ByBoard }
	if b.Firmware != "" && !slices.ContainsFunc(b.formats, forBoard) {
		return errors.New("cannot build with firmware: none of the formats is for a board")
	}
	return b.chooseData()
}

func (b *builder) build(ctx context.Context) (Output, error) {
	k, err := b.kernel(ctx)
	if err != nil {
		return Output{}, err
	}
	a := b.assembler()
	if err := a.assemble(ctx); err != nil {
		return Output{}, err
	}
	b.recordBuildTime(a.root)
	return b.make(ctx, k, a.root)
}

// buildTimeFile is where keelson's /init finds when the image was built.
const buildTimeFile = "usr/lib/keelson/build-time"

// recordBuildTime replaces the build time in the guest's tree with the image's, if one
// is given.
func (b *builder) recordBuildTime(root *tree.Tree) {
	e, ok := root.Get(buildTimeFile)
	if !ok || b.ModTime.Unix() == 0 {
		return
	}
	e.Data = fmt.Appendln(nil, b.ModTime.Unix())
	root.Set(e)
}

// kernel returns nil if the file names no kernel.
func (b *builder) kernel(ctx context.Context) (*kernel.Kernel, error) {
	c := b.doc.Config.Kernel
	if c.Image == "" {
		return nil, nil
	}
	kind, rest := source.Split(b.expand(c.Image))
	if c.Modules != nil && kind != source.Deb {
		return nil, b.doc.Errorf("kernel.modules", "only modules of a deb: kernel can be chosen")
	}
	var k *kernel.Kernel
	var err error
	switch kind {
	case source.Deb:
		k, err = kernel.FromDebian(ctx, b.fetcher.Debian, rest, c.Modules)
		if missing := (*modules.MissingError)(nil); errors.As(err, &missing) {
			return nil, b.doc.ErrorAt("kernel.modules", err)
		}
	case source.File:
		k, err = kernel.FromFile(b.fetcher.Path(rest))
	default:
		var img *source.Image
		if img, err = b.fetcher.Image(ctx, b.expand(c.Image)); err == nil {
			k, err = kernel.FromImage(img.Files, c)
		}
	}
	if err != nil {
		return nil, b.doc.ErrorAt("kernel.image", err)
	}
	return k, nil
}
