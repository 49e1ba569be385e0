package staging

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
)

var machine = settings{Architecture: "amd64", MaxSize: 8 << 20}

// unpacked unpacks an archive into a new folder.
func unpacked(t testing.TB, data []byte) (dir string, meta artifact.Meta, err error) {
	t.Helper()
	return unpackedWith(t, machine, data)
}

func mustUnpack(t testing.TB, data []byte) (string, artifact.Meta) {
	t.Helper()
	dir, meta, err := unpacked(t, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkMeta(meta, machine.Architecture); err != nil {
		t.Error(err)
	}
	if err := checkFiles(dir, meta); err != nil {
		t.Error(err)
	}
	return dir, meta
}

// contents returns the files, links and empty folders below dir.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			got[name] = string(data)
			return err
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			got[name] = "-> " + target
			return err
		default:
			if below, err := os.ReadDir(path); err != nil || len(below) == 0 {
				got[name] = "folder"
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func wantContents(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
		t.Errorf("files of %s (-want +got):\n%s", dir, diff)
	}
}

func TestArtifact(t *testing.T) {
	i := newImage(t)
	m := i.artifact(i.layer(folder("bin/"), file("bin/x", "text")))
	m.Annotations[artifact.RootWritable] = "true"
	d := i.add("amd64", m)
	plain := i.tar()
	for name, data := range map[string][]byte{"tar": plain, "gzip": gzipped(t, plain), "zstd": zstandard(t, plain)} {
		t.Run(name, func(t *testing.T) {
			dir, meta := mustUnpack(t, data)
			want := artifact.Meta{
				Digest: string(d.Digest), Name: "web", Architecture: "amd64", Created: "2026-01-02T03:04:05Z",
				Writable: true, Size: 22 + 16 + 4,
			}
			if diff := cmp.Diff(want, meta); diff != "" {
				t.Errorf("meta (-want +got):\n%s", diff)
			}
			text, err := os.ReadFile(filepath.Join(dir, artifact.File))
			if err != nil {
				t.Fatal(err)
			}
			var stored artifact.Meta
			if err := json.Unmarshal(text, &stored); err != nil || cmp.Diff(want, stored) != "" {
				t.Errorf("%s: %s, %v", artifact.File, text, err)
			}
			wantContents(t, dir, map[string]string{
				"config.json": `{"ociVersion":"1.2.0"}`, "runtime.json": `{"mkdir":["/x"]}`, artifact.File: string(text), "rootfs/bin/x": "text",
			})
		})
	}
}

func TestErofs(t *testing.T) {
	i := newImage(t)
	root := i.blob(artifact.ErofsType, bytes.Repeat([]byte("root"), 1024))
	root.Annotations = map[string]string{artifact.VerityRootHash: strings.Repeat("ab", 32), artifact.VerityOffset: "2048"}
	i.add("amd64", i.artifact(root))
	dir, meta := mustUnpack(t, i.tar())
	if meta.RootHash != strings.Repeat("ab", 32) || meta.VerityOffset != 2048 || meta.Size != 22+16+4096 {
		t.Errorf("meta %+v", meta)
	}
	if data, err := os.ReadFile(filepath.Join(dir, artifact.RootErofs)); err != nil || digestOf(data) != root.Digest {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// Of a root in two forms, the machine takes the image if it can mount it, else the layers.
func TestBothForms(t *testing.T) {
	i := newImage(t)
	root := i.blob(artifact.ErofsType, make([]byte, 4096))
	root.Annotations = map[string]string{artifact.VerityRootHash: strings.Repeat("ab", 32), artifact.VerityOffset: "2048"}
	i.add("amd64", i.artifact(i.layer(file("a", "1")), i.layer(file("b", "2")), root))
	dir, meta := mustUnpack(t, i.tar())
	if !meta.Unpacked || meta.RootHash != "" || meta.VerityOffset != 0 {
		t.Errorf("meta %+v", meta)
	}
	wantContents(t, filepath.Join(dir, artifact.RootDir), map[string]string{"a": "1", "b": "2"})

	s := machine
	s.Images = true
	dir = t.TempDir()
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	meta, err = unpack(r, bytes.NewReader(i.tar()), s)
	if err != nil || meta.Unpacked || meta.RootHash == "" {
		t.Errorf("meta %+v, %v", meta, err)
	}
	if err := checkFiles(dir, meta); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, artifact.RootErofs)); err != nil {
		t.Error(err)
	}
}

func TestLayers(t *testing.T) {
	i := newImage(t)
	first := pack(t, file("a/old", "1"), file("a/b/x", "1"), file("c/gone", "1"), file("d", "1"), symlink("var/run", "/run"))
	second := pack(t,
		file("a/new", "2"), file("a/.wh..wh..opq", ""), file("c/.wh.gone", ""), folder("d"), file("d/now-a-folder", "2"),
		folder("run"), file("var/run/pid", "2"), hardLink("e", "d/now-a-folder"))
	same := i.layer(file("same", "3"))
	i.add("amd64", i.plain("amd64",
		i.blob(v1.MediaTypeImageLayerGzip, gzipped(t, first)), i.blob(v1.MediaTypeImageLayerZstd, zstandard(t, second)), same, same))
	dir, meta := mustUnpack(t, i.tar())
	if !meta.Image || meta.Name != "" {
		t.Errorf("meta %+v", meta)
	}
	wantContents(t, filepath.Join(dir, artifact.RootDir), map[string]string{
		"a/new": "2", "c": "folder", "d/now-a-folder": "2", "e": "2", "run/pid": "2", "var/run": "-> /run", "same": "3",
	})
}

// Links of one layer must not lead entries of the next one out of the root file system.
func TestLinksStayBelowRoot(t *testing.T) {
	i := newImage(t)
	i.add("amd64", i.artifact(
		i.layer(symlink("up", "../.."), symlink("top", "/"), symlink("blobs", "../blobs"), folder("dir"), symlink("dir/config.json", "../../config.json")),
		i.layer(file("up/config.json", "evil"), file("top/artifact.json", "evil"), file("dir/config.json", "evil"))))
	dir, _ := mustUnpack(t, i.tar())
	got := contents(t, dir)
	if got["config.json"] != `{"ociVersion":"1.2.0"}` || strings.Contains(got[artifact.File], "evil") {
		t.Errorf("config.json %q, %s %q", got["config.json"], artifact.File, got[artifact.File])
	}
	for _, name := range []string{"rootfs/config.json", "rootfs/artifact.json", "rootfs/dir/config.json"} {
		if got[name] != "evil" {
			t.Errorf("%s: %q", name, got[name])
		}
	}
}

func TestModesAndAttributes(t *testing.T) {
	i := newImage(t)
	top, setuid := folder("./"), file("su", "")
	top.Mode, setuid.Mode = 0o1711, 0o4755
	setuid.PAXRecords = map[string]string{xattr + "user.note": "1", xattr + "security.ima": "bad", xattr + "trusted.overlay.opaque": "y"}
	i.add("amd64", i.artifact(i.layer(top, setuid)))
	dir, _ := mustUnpack(t, i.tar())
	for name, want := range map[string]os.FileMode{
		"rootfs": os.ModeDir | os.ModeSticky | 0o711, "rootfs/su": os.ModeSetuid | 0o755, "config.json": 0o600,
	} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestKeepAttributes(t *testing.T) {
	records := map[string]string{
		"path": "x", xattr + "user.a": "", xattr + "security.capability": "", xattr + "security.selinux": "", xattr + "trusted.a": "", xattr + "system.posix_acl_access": "",
	}
	keepAttributes(records)
	want := map[string]string{"path": "x", xattr + "user.a": "", xattr + "security.capability": ""}
	if diff := cmp.Diff(want, records); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSeveralPlatforms(t *testing.T) {
	i := newImage(t)
	i.add("arm64", i.plain("arm64", i.layer(file("arch", "arm64"))))
	want := i.add("amd64", i.plain("amd64", i.layer(file("arch", "amd64"))))
	// BuildKit's attestation, which has the media types of an image.
	attestation := i.add("unknown", v1.Manifest{Config: i.json(v1.MediaTypeImageConfig, v1.Image{})})
	i.index.Manifests[2].Platform.OS = "unknown"
	delete(i.blobs, attestation.Digest.Encoded()) // docker save leaves out what it does not need
	// A signature of cosign, and the same manifest under a second name.
	i.add("amd64", v1.Manifest{ArtifactType: "application/vnd.dev.sigstore.bundle.v0.3+json", Config: i.blob(v1.MediaTypeEmptyJSON, []byte("{}"))})
	again := want
	again.Annotations = map[string]string{v1.AnnotationRefName: "latest", artifact.SignatureKey: "a\nb\nc\nd\n"}
	i.index.Manifests = append(i.index.Manifests, again)
	// All that below one more index.
	i.index = v1.Index{Manifests: []v1.Descriptor{i.json(v1.MediaTypeImageIndex, i.index)}}

	dir, meta := mustUnpack(t, i.tar())
	if meta.Digest != string(want.Digest) || len(meta.Signatures) != 1 {
		t.Errorf("meta %+v", meta)
	}
	wantContents(t, filepath.Join(dir, artifact.RootDir), map[string]string{"arch": "amd64"})
}

func TestPlatformOfDocuments(t *testing.T) {
	for name, add := range map[string]func(*image){
		"image":    func(i *image) { i.add("amd64", i.plain("amd64", i.layer(file("x", "")))) },
		"artifact": func(i *image) { i.add("amd64", i.artifact(i.layer(file("x", "")))) },
	} {
		i := newImage(t)
		add(i)
		i.index.Manifests[0].Platform = nil
		if _, _, err := unpacked(t, i.tar()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDockerMediaTypes(t *testing.T) {
	i := newImage(t)
	layer := i.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", gzipped(t, pack(t, file("x", "text"))))
	m := i.plain("amd64", layer)
	m.Config.MediaType = dockerConfig
	m.MediaType = dockerManifest
	m.SchemaVersion = 2
	d := i.json(dockerManifest, m)
	i.index.Manifests = []v1.Descriptor{i.json(dockerIndex, v1.Index{Manifests: []v1.Descriptor{d}})}
	i.extra = []entry{file("manifest.json", "[]"), file("repositories", "{}")}
	dir, _ := mustUnpack(t, i.tar())
	wantContents(t, filepath.Join(dir, artifact.RootDir), map[string]string{"x": "text"})
}

func TestOrderOfMembers(t *testing.T) {
	i := newImage(t)
	i.add("amd64", i.artifact(i.layer(file("x", "text"))))
	members := i.members()
	slices.Reverse(members)
	mustUnpack(t, pack(t, members...))
}

func TestBudget(t *testing.T) {
	b := budget{limit: 100 << 20, entries: maxEntries - 1}
	if err := b.entry(1 << 62); err == nil {
		t.Error("no error for a huge file")
	}
	b.entries--
	if err := b.entry(1); err != nil {
		t.Error(err)
	}
	if err := b.entry(1); err == nil {
		t.Error("no error for too many entries")
	}
}
