package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/testvm/image/format"
	"keelson/testvm/image/progress"
	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

const ociYAML = `
kernel: {image: ./vmlinuz}
init: [keelson]
onboot:
  - name: writable
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "echo written >/file; grep -q written /file"]
services:
  - name: waits
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do busybox sleep 1; done"]
    readonly: true
`

// The OCI image starts by its entry point as in a privileged container, brings up all
// services, and ends on its stop signal. Namespaces and the reader of the layout replace a
// container engine here.
func TestOCIImageStarts(t *testing.T) {
	tier.Root(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vmlinuz"), []byte("kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := Build(t.Context(), Options{YAML: []byte(ociYAML), File: filepath.Join(dir, "a.yml"), OutDir: dir,
		Formats: []string{format.OCI, format.Tar}, GuestRoot: nstest.GuestRoot(t)})
	if err != nil {
		t.Fatal(err)
	}
	img := ociImage(t, o.File("-oci.tar"))
	if !slices.Equal(img.Config.Entrypoint, []string{"/init"}) || img.Config.StopSignal != "SIGUSR2" {
		t.Errorf("its configuration is %+v", img.Config)
	}
	root := filepath.Join(dir, "root")
	if err := img.Files.WriteDir(root); err != nil {
		t.Fatal(err)
	}
	s := nstest.Boot(t, root, nstest.Options{})
	s.Stage("ready")
	s.Line("onboot 000-writable: exited 0")
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	checkTar(t, o.File("a.tar"), img.Files)
}

// ociImage unpacks a layout with tar(1) and reads the image in it.
func ociImage(t *testing.T, file string) *source.Image {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xf", file, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("cannot unpack the layout: %v\n%s", err, out)
	}
	f := source.Fetcher{Arch: format.AMD64, CacheDir: t.TempDir(), Progress: progress.Discard}
	img, err := f.Image(t.Context(), "oci:"+dir)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// checkTar checks that the archive has the same system, and the kernel.
func checkTar(t *testing.T, file string, system *tree.Tree) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := tree.New()
	if err := got.ReadTar(f); err != nil {
		t.Fatal(err)
	}
	if e, ok := got.Get("boot/kernel"); !ok || string(e.Data) != "kernel" {
		t.Errorf("the kernel is %+v", e)
	}
	for _, e := range system.Entries() {
		if other, ok := got.Get(e.Path); !ok || other.Mode != e.Mode || string(other.Data) != string(e.Data) {
			t.Errorf("%s is %+v in the archive", e.Path, other)
		}
	}
}
