package initimage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"keelson/testvm/image/config"
)

// The image of the gate has the command and the settings of the service in examples/gate.yml.
func TestGate(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755), os.WriteFile(filepath.Join(dir, "usr/bin/gate"), []byte("gate"), 0o755)); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := Write(&archive, Options{Name: ref, Trees: map[string]string{"amd64": dir}, Kind: Gate}); err != nil {
		t.Fatal(err)
	}
	top, err := layout.ImageIndexFromPath(unpacked(t, archive.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	images, err := partial.FindImages(index(t, top), match.Platforms(v1.Platform{OS: "linux", Architecture: "amd64"}))
	if err != nil || len(images) != 1 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	c, err := images[0].ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.ParseLabel(ref, c.Config.Labels["org.mobyproject.config"])
	if err != nil {
		t.Fatal(err)
	}
	got.Command = c.Config.Cmd
	text, err := os.ReadFile("../../examples/gate.yml")
	if err != nil {
		t.Fatal(err)
	}
	example, err := config.Parse("gate.yml", text)
	if err != nil || len(example.Config.Services) != 1 {
		t.Fatalf("%v, %+v", err, example)
	}
	if want := example.Config.Services[0].ImageConfig; !reflect.DeepEqual(got, want) {
		t.Errorf("the image has %+v, the example %+v", got, want)
	}
	if c.Config.User != "64743:64743" || c.Config.Labels["org.opencontainers.image.title"] != "keelson-gate" || len(Gate.Config.Labels) != 1 {
		t.Errorf("%+v", c.Config)
	}
	if err := Write(&archive, Options{Name: ref, Trees: map[string]string{"amd64": dir}}); err == nil {
		t.Error("an image for init has no init")
	}
}
