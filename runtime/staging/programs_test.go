package staging

import (
	"archive/tar"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
	"keelson/runtime/programs"
)

// programsOf returns the manifest of an artifact with keelson's own programs.
func (i *image) programsOf(list programs.List, layers ...v1.Descriptor) v1.Manifest {
	i.t.Helper()
	return v1.Manifest{
		ArtifactType: artifact.ProgramsType, Config: i.json(artifact.ProgramsConfigType, list), Layers: layers,
		Annotations: map[string]string{artifact.TitleKey: "programs", artifact.Architecture: "amd64"},
	}
}

// The list and the manifest are kept as they are: their digests lead from the signature to
// each program.
func TestPrograms(t *testing.T) {
	i := newImage(t)
	list := programs.List{programs.Runc: string(digestOf([]byte("runc"))), programs.Containerd: "link:service"}
	d := i.add("amd64", i.programsOf(list, i.layer(folder("usr/"), folder("usr/bin/"), file("usr/bin/runc", "runc"),
		entry{Header: tar.Header{Name: "usr/bin/containerd", Typeflag: tar.TypeSymlink, Linkname: "service"}})))
	dir, meta := mustUnpack(t, i.tar())
	if !meta.Programs || meta.Image || meta.Name != "" || meta.Digest != string(d.Digest) {
		t.Errorf("meta %+v", meta)
	}
	wantContents(t, filepath.Join(dir, artifact.RootDir), map[string]string{"usr/bin/runc": "runc", "usr/bin/containerd": "-> service"})
	all := contents(t, dir)
	if got := digestOf([]byte(all[programs.ManifestFile])); got != d.Digest {
		t.Errorf("%s has digest %s, want %s", programs.ManifestFile, got, d.Digest)
	}
	if _, err := programs.ParseList([]byte(all[programs.ListFile])); err != nil {
		t.Error(err)
	}
}

// Everything that is none of the programs is refused by name.
func TestHostilePrograms(t *testing.T) {
	list := programs.List{programs.Runc: string(digestOf([]byte("runc")))}
	link := func(name, to string) entry {
		return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}}
	}
	for name, tc := range map[string]struct {
		entries []entry
		want    string
	}{
		"another program":     {[]entry{file("usr/bin/sh", "x")}, "usr/bin/sh is none of the programs"},
		"/init":               {[]entry{file("init", "x")}, "init is none of the programs"},
		"file of /etc":        {[]entry{file("etc/passwd", "x")}, "etc/passwd is none of the programs"},
		"folder":              {[]entry{folder("etc/")}, "etc is none of the programs"},
		"path that leads out": {[]entry{file("../usr/bin/runc", "x")}, "leads out"},
		"link out":            {[]entry{link("usr/bin/containerd", "/bin/sh")}, "no file, nor a link"},
		"link for runc":       {[]entry{link("usr/bin/runc", "service")}, "no file, nor a link"},
		"link for a folder":   {[]entry{link("usr/bin", "/bin")}, "usr/bin is none of the programs"},
		"folder for runc":     {[]entry{folder("usr/bin/runc/")}, "no file, nor a link"},
		"another owner":       {[]entry{{Header: tar.Header{Name: "usr/bin/runc", Typeflag: tar.TypeReg, Uid: 7}}}, "owner 7:0"},
		"hard link":           {[]entry{file("usr/bin/runc", "x"), {Header: tar.Header{Name: "usr/bin/service", Typeflag: tar.TypeLink, Linkname: "usr/bin/runc"}}}, "no file, nor a link"},
	} {
		i := newImage(t)
		i.add("amd64", i.programsOf(list, i.layer(tc.entries...)))
		if _, _, err := unpacked(t, i.tar()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	for name, tc := range map[string]struct {
		change func(*image, *v1.Manifest)
		want   string
	}{
		"two layers": {func(i *image, m *v1.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }, "2 layers"},
		"no layer":   {func(i *image, m *v1.Manifest) { m.Layers = nil }, "0 layers"},
		"another list": {func(i *image, m *v1.Manifest) {
			m.Config = i.blob(artifact.ProgramsConfigType, []byte(`{"init": "x"}`))
		}, "init is none of the programs"},
		"configuration":   {func(i *image, m *v1.Manifest) { m.Config = i.blob(artifact.ConfigType, []byte(`{}`)) }, "its configuration has media type"},
		"no architecture": {func(i *image, m *v1.Manifest) { delete(m.Annotations, artifact.Architecture) }, "no annotation keelson.architecture"},
		"a later version": {func(i *image, m *v1.Manifest) { m.ArtifactType = "application/vnd.keelson.programs.v2" }, "does not know"},
	} {
		i := newImage(t)
		m := i.programsOf(list, i.layer(file("usr/bin/runc", "runc")))
		tc.change(i, &m)
		i.add("amd64", m)
		if _, _, err := unpacked(t, i.tar()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
