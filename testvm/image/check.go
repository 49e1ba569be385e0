package image

import (
	"context"
	"errors"

	"keelson/runtime/security"
	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
)

// Report is the result of Check. An error about a part of a file is a *config.Error
// with file and line.
type Report struct {
	Problems   []error
	NotChecked []error           // parts whose image is not on this host
	Services   []security.Report // how far the services that were checked are isolated
}

// Check finds everything that keeps Build from making an image of o's files, and
// settings that the container runtime refuses. It writes nothing and uses no network
// unless pull is true: then it fetches images from registries and Debian's packages.
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
	r.Services = a.services
	return r
}

// checkKernel loads the kernel if that needs no network or pull is true.
func (b *builder) checkKernel(ctx context.Context, pull bool) error {
	if image := b.doc.Config.Kernel.Image; image != "" && !pull {
		if kind, _ := source.Split(b.expand(image)); kind == source.Registry || kind == source.Deb {
			return b.doc.ErrorAt("kernel.image", source.ErrNotLocal)
		}
	}
	_, err := b.kernel(ctx)
	return err
}

// add sorts err, which may be joined errors, into the report.
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

// local returns images without using the network.
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
