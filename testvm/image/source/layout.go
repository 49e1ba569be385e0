package source

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/tree"
)

// Layout returns the image named ref without unpacking it: an OCI layout with the blobs
// for the platforms, by default the target's.
func (f *Fetcher) Layout(ctx context.Context, ref string, platforms []string) (*tree.Tree, error) {
	want, err := f.wanted(platforms)
	if err != nil {
		return nil, fmt.Errorf("cannot use image %s: %w", ref, err)
	}
	switch kind, rest := Split(ref); kind {
	case OCI:
		return f.localLayout(rest, want)
	case Registry:
		return f.remoteLayout(ctx, rest, want)
	}
	return nil, fmt.Errorf("cannot use image %s in a volume of format oci: only oci: and images in registries have an OCI layout", ref)
}

// wantedPlatforms are the platforms asked for.
type wantedPlatforms []v1.Platform

func (f *Fetcher) wanted(platforms []string) (wantedPlatforms, error) {
	if len(platforms) == 0 {
		return wantedPlatforms{f.platform()}, nil
	}
	var w wantedPlatforms
	for _, s := range platforms {
		p, err := v1.ParsePlatform(s)
		if err != nil {
			return nil, err
		}
		w = append(w, *p)
	}
	return w, nil
}

// index returns a layout of the images for all of the platforms.
func (w wantedPlatforms) index(index v1.ImageIndex, annotations map[string]string) (*tree.Tree, error) {
	found := make([]bool, len(w))
	files, err := ocilayout.FromIndex(index, annotations, func(d v1.Descriptor) (hit bool) {
		for i, p := range w {
			if d.Platform == nil || d.Platform.Satisfies(p) {
				hit, found[i] = true, true
			}
		}
		return hit
	})
	if err != nil {
		return nil, err
	}
	if i := slices.Index(found, false); i >= 0 {
		return nil, fmt.Errorf("it has no image for %s", w[i])
	}
	return files, nil
}

func (w wantedPlatforms) String() string {
	var s []string
	for _, p := range w {
		s = append(s, p.String())
	}
	return strings.Join(s, ",")
}

// localLayout returns one entry of a layout, or all entries with the tag.
func (f *Fetcher) localLayout(rest string, want wantedPlatforms) (*tree.Tree, error) {
	path, tag := f.cutTag(rest)
	index, err := layout.ImageIndexFromPath(f.Path(path))
	if err != nil {
		return nil, fmt.Errorf("cannot read image oci:%s in %s: %w", rest, absolute(f.Path(path)), err)
	}
	files, err := entryLayout(index, tag, want)
	if err != nil {
		return nil, fmt.Errorf("cannot use image oci:%s for %s: %w", rest, want, err)
	}
	return files, nil
}

func entryLayout(index v1.ImageIndex, tag string, want wantedPlatforms) (*tree.Tree, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	found, seen := withTag(m.Manifests, tag)
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no image%s among %s", tagged(tag), seen)
	case 1:
		return descriptorLayout(index, found[0], want)
	}
	return joinedLayout(index, found, want)
}

func descriptorLayout(index v1.ImageIndex, d v1.Descriptor, want wantedPlatforms) (*tree.Tree, error) {
	if d.MediaType.IsIndex() {
		inner, err := index.ImageIndex(d.Digest)
		if err != nil {
			return nil, err
		}
		return want.index(inner, d.Annotations)
	}
	img, err := index.Image(d.Digest)
	if err != nil {
		return nil, err
	}
	return imageLayout(img, d.Annotations, want)
}

// joinedLayout makes one index of several images at the top of a layout.
func joinedLayout(index v1.ImageIndex, found []v1.Descriptor, want wantedPlatforms) (*tree.Tree, error) {
	var joined v1.ImageIndex = empty.Index
	for _, d := range found {
		if d.MediaType.IsIndex() || d.Platform == nil {
			return nil, fmt.Errorf("there are %d entries that are not images of one platform each: name one by its tag", len(found))
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		joined = mutate.AppendManifests(joined, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: d.Platform}})
	}
	return want.index(joined, found[0].Annotations)
}

// imageLayout returns a layout of an image without an index.
func imageLayout(img v1.Image, annotations map[string]string, want wantedPlatforms) (*tree.Tree, error) {
	c, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	for _, p := range want {
		if has := c.Platform(); has != nil && has.Architecture != "" && !has.Satisfies(p) {
			return nil, fmt.Errorf("it is for %s, not %s", has, p)
		}
	}
	return ocilayout.FromImage(img, annotations)
}

// remoteLayout returns an image from the cache, or else from a registry.
func (f *Fetcher) remoteLayout(ctx context.Context, ref string, want wantedPlatforms) (*tree.Tree, error) {
	r, err := name.ParseReference(ref)
	if err != nil {
		return nil, fmt.Errorf("cannot use image %s: %w", ref, err)
	}
	store := cache.Store{Dir: filepath.Join(f.CacheDir, "layouts")}
	key := cache.Key(r.Name(), want.String())
	if !f.Refresh {
		if files, ok := fromCache(store, key); ok {
			return files, nil
		}
	}
	task := f.Progress.Start("pulling " + r.Name() + " for " + want.String())
	files, err := pullLayout(ctx, r, want)
	task.Done(err)
	if err != nil {
		if files, ok := fromCache(store, key); ok {
			f.Progress.Note(fmt.Sprintf("cannot refresh %s, using the cache (%v)", r.Name(), err))
			return files, nil
		}
		return nil, fmt.Errorf("cannot find image %s for %s in registry %s, nor in the cache %s: %w",
			r.Name(), want, r.Context().RegistryStr(), absolute(store.Dir), err)
	}
	var buf bytes.Buffer
	if err := files.WriteTar(&buf, time.Unix(0, 0)); err != nil {
		return nil, err
	}
	return files, store.Put(key, buf.Bytes())
}

func fromCache(store cache.Store, key string) (*tree.Tree, bool) {
	data, ok := store.Get(key)
	files := tree.New()
	return files, ok && files.ReadTar(bytes.NewReader(data)) == nil
}

func pullLayout(ctx context.Context, r name.Reference, want wantedPlatforms) (*tree.Tree, error) {
	d, err := remote.Get(r, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{ocilayout.RefAnnotation: r.Name()}
	if d.MediaType.IsIndex() {
		index, err := d.ImageIndex()
		if err != nil {
			return nil, err
		}
		return want.index(index, annotations)
	}
	img, err := d.Image()
	if err != nil {
		return nil, err
	}
	return imageLayout(img, annotations, want)
}
