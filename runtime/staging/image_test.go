package staging

import (
	"archive/tar"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
)

// ofImage returns a plain container image whose manifest was changed.
func ofImage(change func(*image, *v1.Manifest)) func(*image) []byte {
	return func(i *image) []byte {
		m := i.plain("amd64", i.layer(file("x", "text")))
		change(i, &m)
		i.add("amd64", m)
		return i.tar()
	}
}

// configured returns a plain container image with a configuration.
func configured(config string) func(*image) []byte {
	return ofImage(func(i *image, m *v1.Manifest) { m.Config = i.blob(v1.MediaTypeImageConfig, []byte(config)) })
}

// imageLayer returns a plain container image whose last layer has the entries.
func imageLayer(entries ...entry) func(*image) []byte {
	return ofImage(func(i *image, m *v1.Manifest) { m.Layers = append(m.Layers, i.layer(entries...)) })
}

var badImages = []hostile{
	{"configuration is no JSON", "configuration of image", configured("text")},
	{"huge configuration", "configuration of image too large", configured(strings.Repeat(" ", artifact.MaxDocument+1))},
	{"configuration is a list", "configuration of image", configured("[]")},
	{"environment is a text", "configuration of image Env", configured(`{"os":"linux","architecture":"amd64","config":{"Env":"A=b"}}`)},
	{"command has a number", "configuration of image Cmd", configured(`{"os":"linux","architecture":"amd64","config":{"Cmd":[7]}}`)},
	{"labels are a list", "configuration of image Labels", configured(`{"os":"linux","architecture":"amd64","config":{"Labels":["x"]}}`)},
	{"no platform", "no manifest for linux/amd64; it has", configured("{}")},
	{"another platform than the index says", "no manifest for linux/amd64; it has linux/arm64", configured(`{"os":"linux","architecture":"arm64"}`)},
	{"another variant", "no manifest for linux/amd64; it has linux/amd64/v3", configured(`{"os":"linux","architecture":"amd64","variant":"v3"}`)},
	{"another system", "it has windows/amd64", configured(`{"os":"windows","architecture":"amd64"}`)},
	{"configuration of a chart", "no manifest it has helm", ofImage(func(_ *image, m *v1.Manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" })},
	{"missing configuration", "configuration of image missing", ofImage(func(i *image, m *v1.Manifest) { delete(i.blobs, m.Config.Digest.Encoded()) })},
	{"layer that others cannot have", "layer 1 of 1 foreign not supported", ofImage(func(_ *image, m *v1.Manifest) {
		m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	})},
	{"layer of an artifact", "layer 1 of 1 erofs not supported", ofImage(func(_ *image, m *v1.Manifest) { m.Layers[0].MediaType = artifact.ErofsType })},
	{"device in an image", `"dev/sda" device`, imageLayer(ofType("dev/sda", tar.TypeBlock))},
	{"FIFO in an image", `"run/x" FIFO`, imageLayer(ofType("run/x", tar.TypeFifo))},
	{"entry of an image leads out", `"../image.json" leads out`, imageLayer(file("../image.json", "evil"))},
	{"link of an image to its configuration", `"x" "../image.json" leads out`, imageLayer(hardLink("x", "../image.json"))},
	{"whiteout of the folder above the root", `".wh..." whiteout`, imageLayer(file(".wh...", ""))},
	{"Docker's own archive", "Docker's own format oci-archive:OUT", func(i *image) []byte {
		return pack(i.t, file("manifest.json", `[{"Config":"x.json"}]`), folder("a"), file("a/layer.tar", "text"), symlink("b/layer.tar", "../a/layer.tar"))
	}},
}

// The name of an image is that of its own descriptor, or of the index that lists it. Only
// artifacts have none, and a name that cannot be shown is left out.
func TestReference(t *testing.T) {
	for _, tt := range []struct {
		inner, outer map[string]string
		want         string
	}{
		{map[string]string{artifact.ReferenceKey: "v1"}, nil, "v1"},
		{map[string]string{artifact.ReferenceKey: "v1", artifact.NameKey: "docker.io/library/web:v1"}, nil, "docker.io/library/web:v1"},
		{nil, map[string]string{artifact.ReferenceKey: "v2"}, "v2"},
		{map[string]string{artifact.ReferenceKey: "v1"}, map[string]string{artifact.ReferenceKey: "v2"}, "v1"},
		{map[string]string{artifact.ReferenceKey: "a\nb", artifact.NameKey: "\x1b[2J"}, nil, ""},
		{map[string]string{artifact.ReferenceKey: strings.Repeat("x", 256)}, nil, ""},
	} {
		i := newImage(t)
		i.add("amd64", i.plain("amd64", i.layer(file("x", ""))))
		i.index.Manifests[0].Annotations = tt.inner
		outer := i.json(v1.MediaTypeImageIndex, i.index)
		outer.Annotations = tt.outer
		i.index = v1.Index{Manifests: []v1.Descriptor{outer}}
		if _, meta := mustUnpack(t, i.tar()); meta.Reference != tt.want {
			t.Errorf("%v in %v: name %q, want %q", tt.inner, tt.outer, meta.Reference, tt.want)
		}
	}
	i := newImage(t)
	i.add("amd64", i.artifact(i.layer(file("x", ""))))
	i.index.Manifests[0].Annotations = map[string]string{artifact.ReferenceKey: "v1"}
	if _, meta := mustUnpack(t, i.tar()); meta.Reference != "" {
		t.Errorf("an artifact has the name %q of an image", meta.Reference)
	}
}

// `docker save` adds files of its own format, and links where images share a layer.
func TestDockerSave(t *testing.T) {
	i := newImage(t)
	i.add("amd64", i.plain("amd64", i.layer(file("x", "text"))))
	i.extra = []entry{file("manifest.json", "[]"), symlink("abc/layer.tar", "../def/layer.tar"), file("repositories", "{}")}
	mustUnpack(t, i.tar())
}
