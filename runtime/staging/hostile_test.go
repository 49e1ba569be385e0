package staging

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
)

// hostile is an archive that must be refused with an error that has all words of want.
type hostile struct {
	name string
	want string
	make func(*image) []byte
}

// layered returns an archive whose last layer has the entries.
func layered(entries ...entry) func(*image) []byte {
	return func(i *image) []byte {
		i.add("amd64", i.artifact(i.layer(file("before", "")), i.layer(entries...)))
		return i.tar()
	}
}

// changed returns an artifact whose manifest or layout was changed.
func changed(change func(*image, *v1.Manifest)) func(*image) []byte {
	return func(i *image) []byte {
		m := i.artifact(i.layer(file("x", "text")))
		m.Annotations[artifact.Architecture] = "amd64"
		change(i, &m)
		i.add("amd64", m)
		return i.tar()
	}
}

// extra returns an artifact with more members.
func extra(entries ...entry) func(*image) []byte {
	return changed(func(i *image, _ *v1.Manifest) { i.extra = entries })
}

func with(e entry, change func(*entry)) entry {
	change(&e)
	return e
}

// ofType returns an entry that is neither a file nor a link.
func ofType(name string, kind byte) entry {
	return with(file(name, ""), func(e *entry) { e.Typeflag = kind })
}

func good(i *image) []byte { return changed(func(*image, *v1.Manifest) {})(i) }

func hostileArchives() []hostile {
	return slices.Concat(brokenStreams, badMembers, badManifests, badLayers, badImages)
}

var brokenStreams = []hostile{
	{"empty", "it is empty", func(*image) []byte { return nil }},
	{"no tar", "cannot read the archive", func(*image) []byte { return []byte("a text of some length\n") }},
	{"truncated", "unexpected EOF", func(i *image) []byte { return good(i)[:2000] }},
	{"truncated between entries", "no file oci-layout", func(i *image) []byte { return good(i)[:1024] }},
	{"truncated gzip", "unexpected EOF", func(i *image) []byte { z := gzipped(i.t, good(i)); return z[:len(z)-10] }},
	{"truncated zstd", "unexpected EOF", func(i *image) []byte { z := zstandard(i.t, good(i)); return z[:len(z)-10] }},
	{"wrong checksum", "end of the archive checksum", func(i *image) []byte {
		z := gzipped(i.t, good(i))
		z[len(z)-8] ^= 1
		return z
	}},
	{"bomb after the end", "too large end of the archive", func(i *image) []byte {
		return gzipped(i.t, append(good(i), make([]byte, 2*maxTrailer)...))
	}},
	{"window of zstd", "window size", func(*image) []byte { return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, 9, 0, 0}, 'x') }},
	{"huge PAX record", "header field too long", func(i *image) []byte {
		return rawEntry("x", tar.TypeXHeader, 2<<20, make([]byte, 2<<20))
	}},
}

var badMembers = []hostile{
	{"no layout", "no file oci-layout", func(i *image) []byte { return pack(i.t, file("index.json", "{}")) }},
	{"no index", "no file index.json", func(i *image) []byte { return pack(i.t, file("oci-layout", i.version)) }},
	{"other version", `version "2.0.0"`, changed(func(i *image, _ *v1.Manifest) { i.version = `{"imageLayoutVersion":"2.0.0"}` })},
	{"index twice", `"index.json" twice`, extra(file("index.json", "{}"))},
	{"huge index", `"index.json" too large`, func(i *image) []byte {
		return pack(i.t, file("index.json", strings.Repeat(" ", artifact.MaxDocument+1)))
	}},
	{"index is no JSON", "cannot read index.json", func(i *image) []byte {
		return pack(i.t, file("index.json", "{"), file("oci-layout", i.version))
	}},
	{"blob twice", `blobs/sha256/%s twice`, func(i *image) []byte {
		i.blob("", []byte("text"))
		return extra(file("blobs/sha256/"+digestOf([]byte("text")).Encoded(), "text"))(i)
	}},
	{"wrong digest", "blobs/sha256/0000 another digest", extra(file("blobs/sha256/"+strings.Repeat("0", 64), "text"))},
	{"other digest", "blobs/sha512/00 form", extra(file("blobs/sha512/"+strings.Repeat("0", 128), "text"))},
	{"path leads out", "../../etc/passwd leads out", extra(file("../../etc/passwd", "text"))},
	{"absolute path", `"/etc/passwd" leads out`, extra(file("/etc/passwd", "text"))},
	{"symbolic link", `"blobs/sha256/x" only files`, extra(symlink("blobs/sha256/x", "/etc/passwd"))},
	{"hard link", `"index" only files`, extra(hardLink("index", "index.json"))},
	{"device", `"null" only files`, extra(ofType("null", tar.TypeChar))},
	{"bomb of a blob", "blobs/sha256 MiB", func(*image) []byte {
		return rawEntry("blobs/sha256/"+strings.Repeat("0", 64), tar.TypeReg, 1<<40, nil)
	}},
	{"too many members", "more than 10000 entries", func(i *image) []byte {
		return pack(i.t, slices.Repeat([]entry{file("x", "")}, maxMembers+1)...)
	}},
}

var badManifests = []hostile{
	{"no manifest", "no manifest for linux/amd64; it has nothing", func(i *image) []byte { return i.tar() }},
	{"other architectures", "no manifest for linux/amd64; it has linux/arm64, linux/riscv64", func(i *image) []byte {
		i.add("riscv64", i.plain("riscv64"))
		i.add("arm64", i.plain("arm64"))
		return i.tar()
	}},
	{"two manifests", "2 manifests for linux/amd64", changed(func(i *image, _ *v1.Manifest) { i.add("amd64", i.plain("amd64")) })},
	{"missing manifest", "blob sha256: missing", func(i *image) []byte {
		delete(i.blobs, i.add("amd64", i.plain("amd64")).Digest.Encoded())
		return i.tar()
	}},
	{"architectures differ", "is for linux/arm64 says linux/amd64", func(i *image) []byte {
		d := i.add("arm64", i.artifact(i.layer()))
		d.Platform.Architecture = "amd64"
		return i.tar()
	}},
	{"indexes without end", "nested", func(i *image) []byte {
		for range maxDepth {
			i.index = v1.Index{Manifests: []v1.Descriptor{i.json(v1.MediaTypeImageIndex, i.index)}}
		}
		return i.tar()
	}},
	{"too many manifests", "more than 1000 manifests", func(i *image) []byte {
		for range 3 {
			d := i.json(v1.MediaTypeImageIndex, i.index)
			i.index.Manifests = slices.Repeat([]v1.Descriptor{d}, 200)
		}
		return i.tar()
	}},
	{"other version of artifacts", "bundle.v2 does not know", changed(func(_ *image, m *v1.Manifest) { m.ArtifactType = typePrefix + "bundle.v2" })},
	{"configuration of another type", "configuration media type", changed(func(_ *image, m *v1.Manifest) { m.Config.MediaType = "text/plain" })},
	{"no runtime.json", "first layer is not", changed(func(_ *image, m *v1.Manifest) { m.Layers = m.Layers[1:] })},
	{"no root", "no root file system", changed(func(_ *image, m *v1.Manifest) { m.Layers = m.Layers[:1] })},
	{"unknown layer", `media type "text/plain"`, changed(func(_ *image, m *v1.Manifest) { m.Layers[1].MediaType = "text/plain" })},
	{"wrong size", "blob sha256 bytes, its descriptor says 7", changed(func(_ *image, m *v1.Manifest) { m.Layers[1].Size = 7 })},
	{"digest of another kind", "only sha256", changed(func(_ *image, m *v1.Manifest) { m.Layers[1].Digest = "md5:1" })},
	{"no digest", "only sha256", changed(func(_ *image, m *v1.Manifest) { m.Config.Digest = "" })},
	{"missing layer", "missing", changed(func(i *image, m *v1.Manifest) { delete(i.blobs, m.Layers[1].Digest.Encoded()) })},
	{"config.json is no JSON", "config.json not JSON", changed(func(i *image, m *v1.Manifest) { m.Config = i.blob(artifact.ConfigType, []byte("text")) })},
	{"huge config.json", "config.json too large", changed(func(i *image, m *v1.Manifest) {
		m.Config = i.blob(artifact.ConfigType, bytes.Repeat([]byte(" "), artifact.MaxDocument+1))
	})},
	{"no name", "image.title", changed(func(_ *image, m *v1.Manifest) { delete(m.Annotations, artifact.TitleKey) })},
	{"name leads out", "image.title ../etc", changed(func(_ *image, m *v1.Manifest) { m.Annotations[artifact.TitleKey] = "../etc" })},
	{"bad time", "image.created yesterday", changed(func(_ *image, m *v1.Manifest) { m.Annotations[artifact.CreatedKey] = "yesterday" })},
	{"bad flag", "root.writable yes", changed(func(_ *image, m *v1.Manifest) { m.Annotations[artifact.RootWritable] = "yes" })},
	{"image before layers", "erofs image only layer", changed(func(i *image, m *v1.Manifest) {
		m.Layers = append(m.Layers[:1], i.blob(artifact.ErofsType, []byte("root")), m.Layers[1])
	})},
	{"two images", "erofs image only layer", changed(func(i *image, m *v1.Manifest) {
		root := i.blob(artifact.ErofsType, []byte("root"))
		m.Layers = append(m.Layers[:1], root, root)
	})},
	{"offset without hash", "verity.offset", changed(func(i *image, m *v1.Manifest) {
		m.Layers[1] = i.blob(artifact.ErofsType, make([]byte, 4096))
		m.Layers[1].Annotations = map[string]string{artifact.VerityOffset: "512"}
	})},
	{"offset behind the end", "verity.offset 4096", changed(func(i *image, m *v1.Manifest) {
		m.Layers[1] = i.blob(artifact.ErofsType, make([]byte, 4096))
		m.Layers[1].Annotations = map[string]string{artifact.VerityOffset: "4096", artifact.VerityRootHash: "00"}
	})},
}

var badLayers = []hostile{
	{"entry leads out", `layer 2 of 2 entry "../config.json" leads out`, layered(file("../config.json", "evil"))},
	{"entry leads out later", `"../config.json" leads out`, layered(file("a/../../config.json", "evil"))},
	{"absolute entry", `"/etc/passwd" leads out`, layered(file("/etc/passwd", "evil"))},
	{"link to config.json", `"x" "../config.json" leads out`, layered(hardLink("x", "../config.json"))},
	{"absolute hard link", `"x" "/config.json" leads out`, layered(hardLink("x", "/config.json"))},
	{"link to itself", `"x"`, layered(hardLink("x", "x"))},
	{"loop of links", `"a/x"`, layered(symlink("a", "b"), symlink("b", "a"), file("a/x", ""))},
	{"character device", `"dev/kmem" device`, layered(ofType("dev/kmem", tar.TypeChar))},
	{"block device", `"dev/sda" device`, layered(ofType("dev/sda", tar.TypeBlock))},
	{"FIFO", `"etc/passwd" FIFO`, layered(ofType("etc/passwd", tar.TypeFifo))},
	{"unknown type", `"x" unknown type`, func(i *image) []byte { return rawLayer(i, rawEntry("x", 'Z', 0, nil)) }},
	{"owner -1", `"x" owner`, layered(with(file("x", ""), func(e *entry) { e.Uid = 1<<32 - 1 }))},
	{"owner beyond 32 bits", `"x" owner`, layered(with(file("x", ""), func(e *entry) { e.Gid = 1 << 32 }))},
	{"whiteout of the folder above", `".wh..." whiteout`, layered(file(".wh...", ""))},
	{"root is a link", `root is not a folder`, layered(symlink("./", "/etc"))},
	{"name longer than a path", `file name too long`, layered(file(strings.Repeat("a/", 5000)+"a", ""))},
	{"sparse file", `"sparse" MiB`, func(i *image) []byte { return rawLayer(i, sparse(1<<40)) }},
	{"sparse file of the old format", `"sparse" unknown type`, func(i *image) []byte { return rawLayer(i, rawEntry("sparse", tar.TypeGNUSparse, 0, nil)) }},
	{"bomb", `"x" MiB`, func(i *image) []byte { return rawLayer(i, rawEntry("x", tar.TypeReg, 1<<40, nil)) }},
	{"compressed bomb", `"b" MiB`, func(i *image) []byte {
		half := string(make([]byte, 5<<20))
		i.add("amd64", i.artifact(i.blob(v1.MediaTypeImageLayerGzip, gzipped(i.t, pack(i.t, file("a", half), file("b", half))))))
		return i.tar()
	}},
	{"bomb after the layer", "layer 1 of 1 too large", func(i *image) []byte {
		data := append(pack(i.t, file("a", "")), make([]byte, 2*maxTrailer)...)
		i.add("amd64", i.artifact(i.blob(v1.MediaTypeImageLayerGzip, gzipped(i.t, data))))
		return i.tar()
	}},
	{"layer is not compressed", "layer 1 of 1 gzip", func(i *image) []byte {
		i.add("amd64", i.artifact(i.blob(v1.MediaTypeImageLayerGzip, pack(i.t, file("a", "")))))
		return i.tar()
	}},
	{"truncated layer", `"x" unexpected EOF`, func(i *image) []byte { return rawLayer(i, pack(i.t, file("x", "text"))[:514]) }},
	{"layer is no tar", "layer 1 of 1 invalid tar header", func(i *image) []byte { return rawLayer(i, bytes.Repeat([]byte("text"), 500)) }},
}

func rawLayer(i *image, data []byte) []byte {
	i.add("amd64", i.artifact(i.blob(v1.MediaTypeImageLayer, data)))
	return i.tar()
}

// rawEntry returns an entry that tar.Writer would refuse. Its header has the format of
// ustar, with a size in base 256 as in GNU tar.
func rawEntry(name string, kind byte, size int64, data []byte) []byte {
	block := make([]byte, 512)
	copy(block, name)
	copy(block[100:], "0000644\x000000000\x000000000\x00")
	block[124] = 0x80
	binary.BigEndian.PutUint64(block[128:], uint64(size))
	copy(block[136:], "00000000000\x00        ")
	block[156] = kind
	copy(block[257:], "ustar  \x00")
	total := 0
	for _, b := range block {
		total += int(b)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", total))
	return append(block, data...)
}

// sparse returns a file that has only a hole, in GNU tar's PAX format 1.0.
func sparse(size int64) []byte {
	var records string
	for _, r := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=sparse", fmt.Sprintf("GNU.sparse.realsize=%d", size)} {
		records += fmt.Sprintf("%d %s\n", len(r)+4, r) // Two digits, a blank and a line feed.
	}
	data := make([]byte, 512)
	holes := fmt.Sprintf("1\n%d\n0\n", size)
	extended := rawEntry("x", tar.TypeXHeader, int64(len(records)), append([]byte(records), make([]byte, 512-len(records))...))
	copy(data, holes)
	return slices.Concat(extended, rawEntry("x", tar.TypeReg, int64(len(data)), data), make([]byte, 1024))
}

func checkRefusal(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, word := range strings.Fields(want) {
		if !strings.Contains(err.Error(), strings.ReplaceAll(word, "%s", digestOf([]byte("text")).Encoded())) {
			t.Errorf("error %q has no %q", err, word)
		}
	}
}

func TestHostileArchives(t *testing.T) {
	for _, h := range hostileArchives() {
		t.Run(h.name, func(t *testing.T) {
			_, _, err := unpacked(t, h.make(newImage(t)))
			checkRefusal(t, err, h.want)
		})
	}
}

// Whatever is wrong with an archive, the staging folder is empty again.
func TestHostileArchivesLeaveNothing(t *testing.T) {
	o := options(t)
	o.MaxSize = machine.MaxSize
	for _, h := range hostileArchives() {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, err := Stage(t.Context(), o, dir, bytes.NewReader(h.make(newImage(t))))
			checkRefusal(t, err, h.want)
			wantEmpty(t, dir)
		})
	}
}
