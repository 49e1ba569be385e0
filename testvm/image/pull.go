package image

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keelson/runtime/artifact"
	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/progress"
	"keelson/testvm/image/source"
)

// AllArchs stands for all architectures in Pull.
const AllArchs = "all"

// Pull fetches an image or an artifact from a registry and writes it as an OCI layout.
// Manifests keep their digests. archs selects from what is there for several architectures,
// by default the host's; AllArchs takes the index as it is, with everything in it.
func Pull(ctx context.Context, ref string, archs []string, to Target, p progress.Progress) ([]Manifest, error) {
	if kind, _ := source.Split(ref); kind != source.Registry {
		return nil, fmt.Errorf("cannot pull %s: it is not in a registry", ref)
	}
	r, err := name.ParseReference(ref)
	if err != nil {
		return nil, fmt.Errorf("cannot pull %s: %w", ref, err)
	}
	if err := to.check(); err != nil {
		return nil, err
	}
	task := p.Start("pulling " + r.Name())
	made, err := pull(ctx, r, archs, to)
	task.Done(err)
	if err != nil {
		return nil, fmt.Errorf("cannot pull %s: %w", r.Name(), err)
	}
	return made, nil
}

func pull(ctx context.Context, r name.Reference, archs []string, to Target) ([]Manifest, error) {
	d, err := remote.Get(r, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, err
	}
	p := puller{tag: tagOf(r)}
	if err := p.add(d, archs); err != nil {
		return nil, err
	}
	return p.made, to.write(&p.layout, time.Unix(0, 0))
}

// tagOf returns the tag for index.json.
func tagOf(r name.Reference) string {
	if tag, ok := r.(name.Tag); ok {
		return tag.TagStr()
	}
	return "latest"
}

// puller collects what is written.
type puller struct {
	layout ocilayout.Layout
	tag    string
	made   []Manifest
}

func (p *puller) add(d *remote.Descriptor, archs []string) error {
	all := len(archs) == 1 && archs[0] == AllArchs
	if all {
		archs = nil
	}
	switch {
	case d.MediaType.IsIndex():
		index, err := d.ImageIndex()
		if err != nil {
			return err
		}
		if all {
			return p.addIndex(index)
		}
		return p.addArchs(index, archs)
	case d.MediaType.IsImage():
		img, err := d.Image()
		if err != nil {
			return err
		}
		return p.addImage(img, archs)
	}
	return fmt.Errorf("its media type %s is neither an image's nor an index's", d.MediaType)
}

// tagged returns the annotations of an entry of an index, such as signatures, with a tag.
func tagged(annotations map[string]string, tag string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, annotations)
	all[ocilayout.RefAnnotation] = tag
	return all
}

// addIndex adds an index with everything in it.
func (p *puller) addIndex(index v1.ImageIndex) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	p.made = append(p.made, Manifest{Digest: digest.String()})
	return p.layout.AddIndex(index, tagged(nil, p.tag))
}

// addArchs adds the images of an index for some architectures, without the index.
func (p *puller) addArchs(index v1.ImageIndex, archs []string) error {
	if len(archs) == 0 {
		archs = []string{runtime.GOARCH}
	}
	m, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for i, arch := range archs {
		if slices.Contains(archs[:i], arch) {
			continue
		}
		d, err := find(m, arch)
		if err != nil {
			return err
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			return err
		}
		tag := p.tag
		if len(archs) > 1 {
			tag = arch
		}
		if err := p.layout.AddImage(img, tagged(d.Annotations, tag), d.Platform); err != nil {
			return err
		}
		p.made = append(p.made, Manifest{d.Digest.String(), arch})
	}
	return nil
}

// find returns the entry of an index for an architecture.
func find(m *v1.IndexManifest, arch string) (v1.Descriptor, error) {
	var have []string
	for _, d := range m.Manifests {
		if d.Platform == nil || !d.MediaType.IsImage() {
			continue
		}
		if d.Platform.Satisfies(v1.Platform{OS: "linux", Architecture: arch}) {
			return d, nil
		}
		have = append(have, d.Platform.String())
	}
	return v1.Descriptor{}, fmt.Errorf("there is no image for linux/%s: only for %s", arch, strings.Join(have, ", "))
}

// addImage adds an image that is in no index.
func (p *puller) addImage(img v1.Image, archs []string) error {
	platform, err := platformOf(img)
	if err != nil {
		return err
	}
	made := Manifest{}
	if platform != nil {
		made.Arch = platform.Architecture
	}
	for _, arch := range archs {
		if platform == nil || platform.Architecture != arch {
			return fmt.Errorf("there is no image for linux/%s: only for %s", arch, platform)
		}
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	made.Digest = digest.String()
	p.made = append(p.made, made)
	return p.layout.AddImage(img, tagged(nil, p.tag), platform)
}

// platformOf returns the platform of an image or of a bundle artifact; nil if it is unknown.
func platformOf(img v1.Image) (*v1.Platform, error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	if m.ArtifactType != "" || !m.Config.MediaType.IsConfig() {
		if arch := m.Annotations[artifact.Architecture]; arch != "" {
			return &v1.Platform{OS: "linux", Architecture: arch}, nil
		}
		return nil, nil
	}
	c, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	if c.Architecture == "" {
		return nil, nil
	}
	return c.Platform(), nil
}
