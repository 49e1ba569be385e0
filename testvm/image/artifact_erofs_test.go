package image

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/containerd/go-dmverity/pkg/verity"
	"github.com/google/go-cmp/cmp"

	"keelson/runtime/artifact"
	"keelson/testvm/image/format"
	"keelson/testvm/image/tree"
	"keelson/testvm/tier"
)

// erofsRoot writes the artifact of a service and returns the file that holds its root, with
// the annotations of that.
func erofsRoot(t *testing.T, o Options, service string) (file string, annotations map[string]string) {
	t.Helper()
	tier.Tool(t, "mkfs.erofs", "erofs-utils")
	tier.Tool(t, "fakeroot", "fakeroot")
	out := filepath.Join(t.TempDir(), "layout")
	if _, err := WriteArtifact(t.Context(), o, Artifact{Service: service, Root: RootErofs}, Target{Name: out}); err != nil {
		t.Fatal(err)
	}
	entries, index := layoutAt(t, out)
	root := artifactOf(t, index, entries[0]).manifest.Layers[1]
	if root.MediaType != artifact.ErofsType {
		t.Errorf("the root is of type %s", root.MediaType)
	}
	return filepath.Join(out, blobName(root)), root.Annotations
}

// The file system has the files of the layer, and a folder as its root that belongs to the
// container's user 0.
func TestArtifactErofs(t *testing.T) {
	o := artifactOptions(t, t.TempDir())
	for service, owner := range map[string]string{"mapped": "100000 200000", "writable": "0 0"} {
		file, annotations := erofsRoot(t, o, service)
		again, _ := erofsRoot(t, o, service)
		if !bytes.Equal(read(t, file), read(t, again)) {
			t.Errorf("%s: two artifacts of the same service differ", service)
		}
		if offset := annotations[artifact.VerityOffset]; offset == "" || string(read(t, file)[number(t, offset):][:6]) != "verity" {
			t.Errorf("%s: there is no superblock of dm-verity at %q", service, offset)
		}
		dir := t.TempDir()
		if out, err := exec.Command("fsck.erofs", "--extract="+dir, "--overwrite", "--no-preserve-owner", "--preserve-perms", file).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", service, err, out)
		}
		got, err := tree.FromDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		root := tree.New()
		putBelow(root, "root", got)
		if d := cmp.Diff(layerOf(t, o, service), below(root, "root")); d != "" {
			t.Errorf("%s: files: %s", service, d)
		}
		out, err := exec.Command("dump.erofs", "--path=/", file).CombinedOutput()
		top := regexp.MustCompile(`Uid: (\d+) +Gid: (\d+) +Access: (\d+)`).FindSubmatch(out)
		if err != nil || top == nil || string(top[1])+" "+string(top[2]) != owner || string(top[3]) != "0755" {
			t.Errorf("%s: the root folder is %q, want %s: %v: %s", service, top, owner, err, out)
		}
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// layerOf returns the files of the service's root, all owned by root as in a folder of the
// host.
func layerOf(t *testing.T, o Options, service string) map[string]tree.Entry {
	t.Helper()
	out := filepath.Join(t.TempDir(), "layout")
	if _, err := WriteArtifact(t.Context(), o, Artifact{Service: service}, Target{Name: out}); err != nil {
		t.Fatal(err)
	}
	entries, index := layoutAt(t, out)
	files := below(artifactOf(t, index, entries[0]).root(t), "root")
	for name, e := range files {
		e.UID, e.GID = 0, 0
		if e.Type == tree.Symlink {
			e.Mode = 0o777
		}
		files[name] = e
	}
	return files
}

// veritysetup and the library find every change of the file system and of the hash tree.
func TestArtifactVerity(t *testing.T) {
	tier.Tool(t, "veritysetup", "cryptsetup-bin")
	file, annotations := erofsRoot(t, artifactOptions(t, t.TempDir()), "readonly")
	hash, offset := annotations[artifact.VerityRootHash], annotations[artifact.VerityOffset]
	check := func(file, hash string) (tool, library error) {
		want, err := hex.DecodeString(hash)
		if err != nil {
			t.Fatal(err)
		}
		p := verity.Params{HashAreaOffset: uint64(number(t, offset))}
		return exec.Command("veritysetup", "verify", "--hash-offset="+offset, file, file, hash).Run(), verity.Verify(&p, file, file, want)
	}
	if tool, library := check(file, hash); tool != nil || library != nil {
		t.Fatalf("veritysetup: %v; library: %v", tool, library)
	}
	out, err := exec.Command("veritysetup", "verify", "--no-superblock", "--hash=sha256", "--data-block-size=4096", "--hash-block-size=4096",
		"--hash-offset="+strconv.Itoa(number(t, offset)+artifact.VerityBlock), "--data-blocks="+annotations[artifact.VerityBlocks],
		"--salt="+annotations[artifact.VeritySalt], file, file, hash).CombinedOutput()
	if err != nil {
		t.Errorf("veritysetup, by the annotations alone: %v: %s", err, out)
	}
	good := read(t, file)
	damaged := filepath.Join(t.TempDir(), "damaged")
	for _, at := range []int{0, 1100, number(t, offset) - 1, number(t, offset) + 4096} {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if err := os.WriteFile(damaged, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if tool, library := check(damaged, hash); tool == nil || library == nil {
			t.Errorf("byte %d is changed: veritysetup: %v; library: %v", at, tool, library)
		}
	}
	other := "00" + hash[2:]
	if other == hash {
		other = "01" + hash[2:]
	}
	if tool, library := check(file, other); tool == nil || library == nil {
		t.Errorf("another root hash: veritysetup: %v; library: %v", tool, library)
	}
}

// An artifact with both forms has the layers and the images of those with one.
func TestArtifactBothForms(t *testing.T) {
	o := artifactOptions(t, t.TempDir())
	layers := map[string][]string{}
	for _, kind := range []string{RootLayers, RootErofs, RootBoth} {
		out := filepath.Join(t.TempDir(), "layout")
		if _, err := WriteArtifact(t.Context(), o, Artifact{Service: "writable", Root: kind}, Target{Name: out}); err != nil {
			t.Fatal(err)
		}
		entries, index := layoutAt(t, out)
		for _, d := range artifactOf(t, index, entries[0]).manifest.Layers[1:] {
			layers[kind] = append(layers[kind], d.Digest.String())
		}
	}
	if d := cmp.Diff(append(layers[RootLayers], layers[RootErofs]...), layers[RootBoth]); d != "" {
		t.Error(d)
	}
}

func TestArtifactRootErrors(t *testing.T) {
	o := artifactOptions(t, t.TempDir())
	_, err := WriteArtifact(t.Context(), o, Artifact{Service: "writable", Archs: []string{format.AMD64}, Root: "squashfs"}, Target{Name: filepath.Join(t.TempDir(), "a.tar")})
	if want := `cannot make an artifact with a root of kind "squashfs": use layers, erofs or both`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
