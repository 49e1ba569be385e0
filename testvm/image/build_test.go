package image

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/klauspost/compress/zstd"

	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
)

const buildYAML = `
kernel:
  image: ./vmlinuz
  cmdline: "console=ttyS0 quiet"
init: ["dir:guest-${ARCH}"]
onboot:
  - name: first
    image: oci:layout
    command: [/app]
    annotations: {b: "2", a: "1", c: "3"}
    net: new
    sysctl: {net.b: "2", net.a: "1"}
services:
  - {name: second, image: "oci:layout", readonly: true}
  - {name: third, image: "dir:guest-${ARCH}", command: [/usr/bin/app]}
files:
  - {path: etc/x, source: x.conf, mode: "0644"}
  - {path: etc/none, source: none.conf, optional: true}
`

// project writes an image's inputs to dir.
func project(t *testing.T, dir string) {
	t.Helper()
	for name, data := range map[string]string{
		"vmlinuz": "KERNEL", "x.conf": "x", "a.yml": buildYAML, "guest-amd64/init": "INIT", "guest-amd64/" + unpackedFile: "", "guest-amd64/usr/bin/app": strings.Repeat("app", 1000),
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(data), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{Architecture: "amd64", OS: "linux", Config: v1.Config{Entrypoint: []string{"/e"}}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := layout.Write(filepath.Join(dir, "layout"), empty.Index)
	if err == nil {
		err = p.AppendImage(img)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, dir, out string) Output {
	t.Helper()
	o, err := Build(t.Context(), Options{
		YAML: []byte(buildYAML), File: filepath.Join(dir, "a.yml"), Arch: "amd64",
		CacheDir: filepath.Join(dir, "cache"), OutDir: out,
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSameInputSameBytes(t *testing.T) {
	first, second := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere/deep")
	project(t, first)
	a := build(t, first, first)
	time.Sleep(1100 * time.Millisecond) // times in archives have whole seconds
	project(t, second)
	b := build(t, second, t.TempDir())
	for _, pair := range [][2]string{{a.Kernel, b.Kernel}, {a.Initrd, b.Initrd}, {a.CmdlineFile, b.CmdlineFile}} {
		if !bytes.Equal(read(t, pair[0]), read(t, pair[1])) {
			t.Errorf("%s and %s differ", pair[0], pair[1])
		}
	}
	if filepath.Base(a.Initrd) != "a-initrd.img" || filepath.Base(a.Kernel) != "a-kernel" || filepath.Base(a.CmdlineFile) != "a-cmdline" {
		t.Errorf("names: %+v", a)
	}
	if string(read(t, a.CmdlineFile)) != "console=ttyS0 quiet" || string(read(t, a.Kernel)) != "KERNEL" {
		t.Error("kernel or command line are not what the file says")
	}
	warm := build(t, first, t.TempDir())
	if !bytes.Equal(read(t, a.Initrd), read(t, warm.Initrd)) {
		t.Error("the build from the cache differs")
	}
}

// names returns the names in an initrd.
func names(t *testing.T, initrd []byte) (out []string) {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(initrd))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	r := cpio.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 {
			t.Errorf("%s is from %v", h.Name, h.ModTime)
		}
		out = append(out, h.Name)
	}
}

func TestInitrd(t *testing.T) {
	dir := t.TempDir()
	project(t, dir)
	list := names(t, read(t, build(t, dir, dir).Initrd))
	if list[0] != "init" {
		t.Errorf("the first entry is %s, want init", list[0])
	}
	if at := slices.Index(list, unpackedFile); at != len(list)-1 {
		t.Errorf("%s is entry %d of %d, want the last", unpackedFile, at, len(list))
	}
	if at := slices.Index(list, unpackingFile); at < 0 || at > 4 {
		t.Errorf("%s is entry %d", unpackingFile, at)
	}
	all := "\n" + strings.Join(list, "\n") + "\n"
	for _, want := range []string{"etc/x", "usr/bin/app", "containers/onboot/000-first/lower/etc/hosts", "containers/services/second/config.json", "containers/services/third/lower/usr/bin/app"} {
		if !strings.Contains(all, "\n"+want+"\n") {
			t.Errorf("%s is missing in %s", want, all)
		}
	}
	if strings.Contains(all, "etc/none") {
		t.Error("an optional file that is not there was added")
	}
}

func TestKernelFromImageWithMicrocode(t *testing.T) {
	dir := t.TempDir()
	project(t, dir)
	var tar bytes.Buffer
	mods := tree.New()
	mods.Set(tree.Entry{Path: "lib/modules/1/x.ko", Type: tree.File, Data: []byte("x")})
	if err := mods.WriteTar(&tar, time.Unix(9, 0)); err != nil {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(dir, "k"), 0o755)
	for name, data := range map[string]string{"kernel": "K", "kernel.tar": tar.String(), "ucode.cpio": "070701..."} {
		os.WriteFile(filepath.Join(dir, "k", name), []byte(data), 0o644)
	}
	out, err := Build(t.Context(), Options{
		YAML: []byte("kernel: {image: 'dir:k', ucode: ucode.cpio}\ninit: [keelson]\n"),
		File: filepath.Join(dir, "b.yml"), GuestRoot: filepath.Join(dir, "guest-amd64"), CacheDir: dir, OutDir: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	initrd := read(t, out.Initrd)
	if !bytes.HasPrefix(initrd, []byte("070701...\x00\x00\x00")) {
		t.Fatalf("the initrd does not begin with the microcode: %q", initrd[:16])
	}
	if all := strings.Join(names(t, initrd[12:]), " "); !strings.Contains(all, "lib/modules/1/x.ko") {
		t.Errorf("the module is missing in %s", all)
	}
}

func TestStandard(t *testing.T) {
	in := tree.New()
	for _, e := range []tree.Entry{
		{Path: ".dockerenv", Type: tree.File}, {Path: "dev/console", Type: tree.File}, {Path: "etc/hostname", Type: tree.File},
		{Path: "etc/hosts", Type: tree.File, Data: []byte("1.2.3.4 x")}, {Path: "etc/mtab", Type: tree.File},
	} {
		in.Set(e)
	}
	out, err := standard(in, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{".dockerenv", "dev/console", "etc/hostname"} {
		if _, ok := out.Get(gone); ok {
			t.Errorf("%s is still there", gone)
		}
	}
	if e, _ := out.Get("etc/hosts"); string(e.Data) != hosts {
		t.Errorf("hosts: %q", e.Data)
	}
	if e, _ := out.Get("etc/mtab"); e.Type != tree.File {
		t.Error("an mtab that was there was replaced")
	}
	if e, _ := out.Get("etc/resolv.conf"); e.Link != resolvConf {
		t.Errorf("resolv.conf: %+v", e)
	}
	if _, ok := in.Get(".dockerenv"); !ok {
		t.Error("the image itself was changed")
	}
}

func TestMetadata(t *testing.T) {
	src := "# comment\nfiles:\n  - {path: a.yml, metadata: yaml}\n  - {path: a.json, metadata: json}\n"
	a, err := assemble(t, "a.yml", []byte(src), given{})
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := a.root.Get("a.yml"); string(e.Data) != src {
		t.Errorf("yaml: %q", e.Data)
	}
	e, _ := a.root.Get("a.json")
	if m, ok := meaning(t, e.Data).(map[string]any); !ok || len(m["files"].([]any)) != 2 {
		t.Errorf("json: %s", e.Data)
	}
}

func TestImagesDoNotReachOutOfTheirDirectory(t *testing.T) {
	evil := tree.New()
	evil.Set(tree.Entry{Path: "etc", Type: tree.Symlink, Link: "/../../../../escaped"})
	a, err := assemble(t, "a.yml", []byte("services: [{name: a, image: evil, command: [/x]}]"), given{"evil": &source.Image{Files: evil}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range a.root.Entries() {
		if !strings.HasPrefix(e.Path, "containers") {
			t.Errorf("%s lies outside the container", e.Path)
		}
	}
}

// Every initramfs has the device nodes that its first process may need, also one that
// mounts a root on a disk; nodes of the image are not replaced.
func TestNodes(t *testing.T) {
	own := tree.New()
	own.Set(tree.Entry{Path: "dev/null", Type: tree.Char, Mode: 0o600, Major: 1, Minor: 3})
	for name, root := range map[string]*tree.Tree{"empty": tree.New(), "own": own} {
		addNodes(root)
		console, _ := root.Get("dev/console")
		null, _ := root.Get("dev/null")
		if console.Type != tree.Char || console.Major != 5 || console.Minor != 1 || null.Type != tree.Char || null.Major != 1 || null.Minor != 3 {
			t.Errorf("%s: %+v, %+v", name, console, null)
		}
		if (null.Mode == 0o600) != (name == "own") {
			t.Errorf("%s: the node has mode %o", name, null.Mode)
		}
	}
}
