package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/tree"
)

func (f *Fetcher) platform() v1.Platform { return v1.Platform{OS: "linux", Architecture: f.Arch} }

// cutTag splits PATH:TAG. The tag may be a full reference with slashes and colons, so it
// starts after the first path that is a layout.
func (f *Fetcher) cutTag(s string) (path, tag string) {
	for i, c := range s {
		if c != ':' {
			continue
		}
		if _, err := os.Stat(filepath.Join(f.Path(s[:i]), "index.json")); err == nil {
			return s[:i], s[i+1:]
		}
	}
	if i := strings.LastIndex(s, ":"); i > strings.LastIndex(s, "/") {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// layout reads oci:PATH or oci:PATH:TAG.
func (f *Fetcher) layout(rest string) (*Image, error) {
	path, tag := f.cutTag(rest)
	dir := f.Path(path)
	if _, err := os.Stat(filepath.Join(dir, "index.json")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot find image oci:%s: there is no OCI layout (file %s)", rest, absolute(filepath.Join(dir, "index.json")))
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read image oci:%s: %w", rest, err)
	}
	img, err := choose(index, tag, f.platform())
	if err != nil {
		return nil, fmt.Errorf("cannot find image oci:%s in %s: %w", rest, absolute(dir), err)
	}
	return f.open("oci:"+rest, img)
}

// choose returns the image for a platform, with a tag if that is not empty.
func choose(index v1.ImageIndex, tag string, platform v1.Platform) (v1.Image, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var found []v1.Image
	named, seen := withTag(m.Manifests, tag)
	for _, d := range named {
		if d.Platform != nil && !d.Platform.Satisfies(platform) {
			continue
		}
		img, err := imageOf(index, d, platform)
		if err != nil {
			return nil, err
		}
		found = append(found, img)
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("no image for %s%s among %s", platform, tagged(tag), seen)
	case len(found) > 1:
		return nil, fmt.Errorf("%d images for %s%s among %s: name one by its tag", len(found), platform, tagged(tag), seen)
	}
	return found[0], nil
}

// withTag returns the entries of an index that have a tag or digest, all if tag is
// empty. seen lists all entries, for errors.
func withTag(entries []v1.Descriptor, tag string) (found []v1.Descriptor, seen string) {
	var names []string
	for _, d := range entries {
		names = append(names, describe(d))
		if tag == "" || d.Annotations[ocilayout.RefAnnotation] == tag || d.Digest.String() == tag {
			found = append(found, d)
		}
	}
	return found, strings.Join(names, ", ")
}

func imageOf(index v1.ImageIndex, d v1.Descriptor, platform v1.Platform) (v1.Image, error) {
	if d.MediaType.IsIndex() {
		below, err := index.ImageIndex(d.Digest)
		if err != nil {
			return nil, err
		}
		return choose(below, "", platform)
	}
	return index.Image(d.Digest)
}

func tagged(tag string) string {
	if tag == "" {
		return ""
	}
	return " with tag " + tag
}

func describe(d v1.Descriptor) string {
	s := d.Digest.String()
	if n := d.Annotations[ocilayout.RefAnnotation]; n != "" {
		s = n
	}
	if d.Platform != nil {
		s += " (" + d.Platform.String() + ")"
	}
	return s
}

// archive reads docker-archive:PATH or docker-archive:PATH:NAME:TAG.
func (f *Fetcher) archive(rest string) (*Image, error) {
	path, tag := rest, (*name.Tag)(nil)
	if _, err := os.Stat(f.Path(path)); err != nil {
		before, after, ok := strings.Cut(rest, ":")
		if !ok {
			return nil, fmt.Errorf("cannot find image docker-archive:%s: there is no file %s", rest, absolute(f.Path(path)))
		}
		t, err := name.NewTag(after)
		if err != nil {
			return nil, fmt.Errorf("cannot find image docker-archive:%s: %w", rest, err)
		}
		path, tag = before, &t
	}
	file := f.Path(path)
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("cannot find image docker-archive:%s: there is no file %s", rest, absolute(file))
	}
	img, err := tarball.ImageFromPath(file, tag)
	if err != nil {
		return nil, fmt.Errorf("cannot read image docker-archive:%s from %s: %w", rest, absolute(file), err)
	}
	return f.unpack("docker-archive:"+rest, img)
}

// registry returns an image from the cache, or else from a registry.
func (f *Fetcher) registry(ctx context.Context, ref string) (*Image, error) {
	r, err := name.ParseReference(ref)
	if err != nil {
		return nil, fmt.Errorf("cannot use image %s: %w", ref, err)
	}
	dir := filepath.Join(f.CacheDir, "oci", f.Arch)
	if !f.Refresh {
		if img, err := f.cached(dir, r.Name()); err == nil {
			return img, nil
		}
	}
	task := f.Progress.Start("pulling " + r.Name() + " for " + f.Arch)
	err = f.pull(ctx, r, dir)
	task.Done(err)
	if err != nil {
		if img, cerr := f.cached(dir, r.Name()); cerr == nil {
			f.Progress.Note(fmt.Sprintf("cannot refresh %s, using the cache (%v)", r.Name(), err))
			return img, nil
		}
		return nil, fmt.Errorf("cannot find image %s in registry %s, nor in the cache %s: %w",
			r.Name(), r.Context().RegistryStr(), absolute(dir), err)
	}
	return f.cached(dir, r.Name())
}

func (f *Fetcher) cached(dir, ref string) (*Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	img, err := choose(index, ref, f.platform())
	if err != nil {
		return nil, err
	}
	return f.open(ref, img)
}

func (f *Fetcher) pull(ctx context.Context, r name.Reference, dir string) error {
	img, err := remote.Image(r, remote.WithContext(ctx), remote.WithPlatform(f.platform()),
		remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	unlock, err := cache.Lock(dir + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	p, err := layout.FromPath(dir)
	if err != nil {
		if p, err = layout.Write(dir, empty.Index); err != nil {
			return err
		}
	}
	if err := dropDamaged(p, img); err != nil {
		return err
	}
	return p.ReplaceImage(img, func(d v1.Descriptor) bool { return d.Annotations[ocilayout.RefAnnotation] == r.Name() },
		layout.WithAnnotations(map[string]string{ocilayout.RefAnnotation: r.Name()}))
}

// dropDamaged removes blobs whose digest is wrong, because existing blobs are not
// written again.
func dropDamaged(p layout.Path, img v1.Image) error {
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	hashes := []v1.Hash{digest, m.Config.Digest}
	for _, l := range m.Layers {
		hashes = append(hashes, l.Digest)
	}
	for _, h := range hashes {
		file := filepath.Join(string(p), "blobs", h.Algorithm, h.Hex)
		err := cache.Check(file, h.Hex)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

// open verifies all digests of an image from a layout and unpacks it.
func (f *Fetcher) open(ref string, img v1.Image) (*Image, error) {
	if err := verify(img); err != nil {
		return nil, fmt.Errorf("cannot use image %s: %w", ref, err)
	}
	return f.unpack(ref, img)
}

func (f *Fetcher) unpack(ref string, img v1.Image) (*Image, error) {
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("cannot read configuration of image %s: %w", ref, err)
	}
	if cf.Architecture != "" && cf.Architecture != f.Arch {
		return nil, fmt.Errorf("cannot use image %s: it is for %s, not %s", ref, cf.Architecture, f.Arch)
	}
	files := tree.New()
	r := mutate.Extract(img)
	if err := errors.Join(files.ReadTar(r), r.Close()); err != nil {
		return nil, fmt.Errorf("cannot unpack image %s: %w", ref, err)
	}
	return &Image{Files: files, Config: cf.Config}, nil
}
