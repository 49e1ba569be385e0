package image

import (
	"context"
	"errors"

	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
)

// Report is what Check found. Errors are of type *config.Error, with file and line,
// where they are about a part of a file.
type Report struct {
	Problems   []error
	NotChecked []error // parts whose image is not on this host
}

// Check looks for all that keeps Build from making an image of o's files, and for
// settings that the container runtime refuses. It writes nothing and uses no network,
// unless pull is true: images in registries and Debian's packages are got then.
func Check(ctx context.Context, o Options, pull bool) (r Report) {
	doc, err := o.parse()
	if err == nil {
		err = o.complete()
	}
	if err != nil {
		r.add(err)
		return r
	}
	b := newBuilder(o, doc)
	a := b.assembler()
	if !pull {
		a.images = local{b.fetcher}
	}
	r.add(b.checkKernel(ctx, pull))
	for _, part := range a.parts() {
		r.add(part(ctx))
	}
	return r
}

// checkKernel gets the kernel where that needs no network.
func (b *builder) checkKernel(ctx context.Context, pull bool) error {
	if image := b.doc.Config.Kernel.Image; image != "" && !pull {
		if kind, _ := source.Split(b.expand(image)); kind == source.Registry || kind == source.Deb {
			return b.doc.ErrorAt("kernel.image", source.ErrNotLocal)
		}
	}
	_, err := b.kernel(ctx)
	return err
}

// add sorts err, which may be several joined.
func (r *Report) add(err error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			r.add(one)
		}
		return
	}
	switch {
	case err == nil:
	case errors.Is(err, source.ErrNotLocal):
		r.NotChecked = append(r.NotChecked, err)
	default:
		r.Problems = append(r.Problems, err)
	}
}

// local gets images without the network.
type local struct{ *source.Fetcher }

func (l local) Image(ctx context.Context, ref string) (*source.Image, error) {
	return l.Fetcher.Local(ctx, ref)
}

func (l local) Layout(ctx context.Context, ref string, platforms []string) (*tree.Tree, error) {
	if kind, _ := source.Split(ref); kind == source.Registry {
		return nil, source.ErrNotLocal
	}
	return l.Fetcher.Layout(ctx, ref, platforms)
}
