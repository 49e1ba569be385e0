package staging

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
)

// Media types of Docker that are the same documents as OCI's.
const (
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// typePrefix is what the artifact types of all versions begin with.
const typePrefix = "application/vnd.keelson."

// choice is the manifest for an architecture.
type choice struct {
	descriptor v1.Descriptor
	manifest   v1.Manifest
	image      *v1.Image // of a plain container image; nil for an artifact
	programs   bool      // an artifact with keelson's own programs
	signatures []string
	reference  string
}

// chooser searches index.json, and the indexes that it names, for one manifest.
type chooser struct {
	layout *layout
	want   v1.Platform
	found  []choice
	others []string // what the layout has instead
	seen   int
}

// choose returns the manifest for the architecture, which must be the only one.
func choose(l *layout, architecture string) (choice, error) {
	c := chooser{layout: l, want: v1.Platform{OS: "linux", Architecture: architecture}}
	var index v1.Index
	if err := json.Unmarshal(l.files[v1.ImageIndexFile], &index); err != nil {
		return choice{}, fmt.Errorf("cannot read %s: %w", v1.ImageIndexFile, err)
	}
	if err := c.index(index, "", 1); err != nil {
		return choice{}, err
	}
	switch len(c.found) {
	case 1:
		return c.found[0], nil
	case 0:
		slices.Sort(c.others)
		has := strings.Join(slices.Compact(c.others), ", ")
		if has == "" {
			has = "nothing that can run"
		}
		return choice{}, fmt.Errorf("the artifact has no manifest for %s; it has %s", name(c.want), has)
	}
	return choice{}, fmt.Errorf("the artifact has %d manifests for %s, among them %s and %s",
		len(c.found), name(c.want), c.found[0].descriptor.Digest, c.found[1].descriptor.Digest)
}

// index searches an index. reference is the name that its own descriptor has.
func (c *chooser) index(index v1.Index, reference string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("indexes are nested more than %d deep", maxDepth)
	}
	for _, d := range index.Manifests {
		if c.seen++; c.seen > maxManifests {
			return fmt.Errorf("%w: more than %d manifests", errTooLarge, maxManifests)
		}
		var err error
		reference := cmp.Or(referenceOf(d), reference)
		switch d.MediaType {
		case v1.MediaTypeImageIndex, dockerIndex:
			var next v1.Index
			if err = c.layout.parse(d, &next); err == nil {
				err = c.index(next, reference, depth+1)
			}
		case v1.MediaTypeImageManifest, dockerManifest:
			err = c.manifest(d, reference)
		default: // The image specification says to ignore others.
			c.others = append(c.others, fmt.Sprintf("a document of type %q", d.MediaType))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// manifest adds the manifest that d describes to those found, if it is for the platform.
// Manifests for other platforms need not be in the layout.
func (c *chooser) manifest(d v1.Descriptor, reference string) error {
	if d.Platform != nil && !c.matches(*d.Platform) {
		if d.Platform.OS != "unknown" { // An attestation of BuildKit.
			c.others = append(c.others, name(*d.Platform))
		}
		return nil
	}
	found := choice{descriptor: d, reference: reference, signatures: artifact.SplitSignatures(d.Annotations[artifact.SignatureKey])}
	m := &found.manifest
	if err := c.layout.parse(d, m); err != nil {
		return fmt.Errorf("cannot read a manifest: %w", err)
	}
	if m.MediaType != "" && m.MediaType != d.MediaType {
		return fmt.Errorf("manifest %s has media type %q, its descriptor says %q", d.Digest, m.MediaType, d.MediaType)
	}
	switch {
	case m.ArtifactType == artifact.Type, m.ArtifactType == artifact.ProgramsType:
		found.programs = m.ArtifactType == artifact.ProgramsType
		if err := checkArtifact(found); err != nil {
			return fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		if p := (v1.Platform{OS: "linux", Architecture: m.Annotations[artifact.Architecture]}); !c.matches(p) {
			if d.Platform != nil {
				return fmt.Errorf("manifest %s is for %s, its descriptor says %s", d.Digest, name(p), name(*d.Platform))
			}
			c.others = append(c.others, name(p))
			return nil
		}
	case strings.HasPrefix(m.ArtifactType, typePrefix):
		return fmt.Errorf("manifest %s has artifact type %q, which this version of keelson does not know: it knows %s and %s",
			d.Digest, m.ArtifactType, artifact.Type, artifact.ProgramsType)
	case m.ArtifactType == "" && (m.Config.MediaType == v1.MediaTypeImageConfig || m.Config.MediaType == dockerConfig):
		found.image = &v1.Image{}
		if err := c.layout.parse(m.Config, found.image); err != nil {
			return fmt.Errorf("cannot read the configuration of image %s: %w", d.Digest, err)
		}
		if !c.matches(found.image.Platform) {
			c.others = append(c.others, name(found.image.Platform))
			return nil
		}
	default:
		c.others = append(c.others, fmt.Sprintf("an artifact of type %q", cmp.Or(m.ArtifactType, m.Config.MediaType)))
		return nil
	}
	c.add(found)
	return nil
}

// add adds a manifest. Two descriptors of the same one, such as two tags, are one.
func (c *chooser) add(found choice) {
	i := slices.IndexFunc(c.found, func(f choice) bool { return f.descriptor.Digest == found.descriptor.Digest })
	if i < 0 {
		c.found = append(c.found, found)
		return
	}
	all := append(c.found[i].signatures, found.signatures...)
	c.found[i].signatures = all[:min(len(all), artifact.MaxSignatures)]
	c.found[i].reference = cmp.Or(c.found[i].reference, found.reference)
}

// referenceForm is that of org.opencontainers.image.ref.name (annotations.md), with a limit.
var referenceForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,254}$`) })

// referenceOf returns the name of an image in its descriptor, or "" for none that can be
// shown.
func referenceOf(d v1.Descriptor) string {
	for _, key := range []string{artifact.NameKey, artifact.ReferenceKey} {
		if name := d.Annotations[key]; referenceForm().MatchString(name) {
			return name
		}
	}
	return ""
}

func checkArtifact(found choice) error {
	switch m := found.manifest; {
	case m.Annotations[artifact.Architecture] == "":
		return fmt.Errorf("it has no annotation %s", artifact.Architecture)
	case found.programs && m.Config.MediaType != artifact.ProgramsConfigType:
		return fmt.Errorf("its configuration has media type %q, want %s", m.Config.MediaType, artifact.ProgramsConfigType)
	case found.programs && len(m.Layers) != 1:
		return fmt.Errorf("it has %d layers, want one", len(m.Layers))
	case found.programs:
		return nil
	case m.Config.MediaType != artifact.ConfigType:
		return fmt.Errorf("its configuration has media type %q, want %s", m.Config.MediaType, artifact.ConfigType)
	case len(m.Layers) == 0 || m.Layers[0].MediaType != artifact.RuntimeType:
		return fmt.Errorf("its first layer is not of type %s", artifact.RuntimeType)
	case len(m.Layers) < 2:
		return errors.New("it has no root file system")
	}
	return nil
}

// matches reports whether the platform is the one wanted. Of the variants, the names of
// those that every machine of keelson has are accepted.
func (c *chooser) matches(p v1.Platform) bool {
	baseline := map[string]string{"amd64": "v1", "arm64": "v8"}[p.Architecture]
	return p.OS == c.want.OS && p.Architecture == c.want.Architecture && (p.Variant == "" || p.Variant == baseline)
}

func name(p v1.Platform) string {
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	return text
}
