package kernel

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"keelson/runtime/depmod"
	"keelson/testvm/image/cache"
	"keelson/testvm/image/config"
	"keelson/testvm/image/debian"
	"keelson/testvm/image/modules"
	"keelson/testvm/image/progress"
	"keelson/testvm/image/tree"
	"keelson/testvm/tier"
)

func files(t *testing.T, entries ...tree.Entry) *tree.Tree {
	t.Helper()
	tr := tree.New()
	for _, e := range entries {
		if err := tr.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func file(path, data string) tree.Entry {
	return tree.Entry{Path: path, Type: tree.File, Mode: 0o644, Data: []byte(data)}
}

func TestFromImage(t *testing.T) {
	var tar bytes.Buffer
	if err := files(t, file("lib/modules/1/x.ko", "x")).WriteTar(&tar, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	img := files(t, file("kernel", "K"), file("bzImage", "B"), file("kernel.tar", tar.String()), file("intel.cpio", "U"))
	str := func(s string) *string { return &s }

	k, err := FromImage(img, config.Kernel{})
	if err != nil || string(k.Image) != "K" || len(k.UCode) != 0 {
		t.Fatalf("got %+v, %v", k, err)
	}
	if _, ok := k.Root.Get("lib/modules/1/x.ko"); !ok {
		t.Error("the module is missing")
	}
	k, err = FromImage(img, config.Kernel{Binary: "bzImage", Tar: str("none"), UCode: str("intel.cpio")})
	if err != nil || string(k.Image) != "B" || string(k.UCode) != "U" || k.Root.Len() != 0 {
		t.Errorf("got %+v, %v", k, err)
	}
	for _, c := range []config.Kernel{{Binary: "vmlinux"}, {Tar: str("m.tar")}, {UCode: str("amd.cpio")}} {
		if _, err := FromImage(img, c); err == nil || !strings.Contains(err.Error(), "bzImage, intel.cpio, kernel, kernel.tar") {
			t.Errorf("got %v, want what the image holds", err)
		}
	}
}

func archive(t *testing.T, arch string) *debian.Archive {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Debian's archive; left out by -short")
	}
	tier.Tool(t, "apt-get", "apt")
	tier.Tool(t, "dpkg-deb", "dpkg")
	tier.Tool(t, "depmod", "kmod")
	dir, err := cache.Dir()
	if err != nil {
		t.Fatal(err)
	}
	a := &debian.Archive{Arch: arch, CacheDir: dir, Progress: progress.Discard}
	if _, err := a.Resolve(t.Context(), []string{"busybox-static"}); err != nil {
		tier.Skip(t, "needs Debian's archive: %v", err)
	}
	return a
}

func TestFromDebian(t *testing.T) {
	for arch, name := range map[string]string{"amd64": "linux-image-cloud-amd64", "arm64": "linux-image-cloud-arm64"} {
		k, err := FromDebian(t.Context(), archive(t, arch), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: kernel %d bytes, %d entries of %d bytes", arch, len(k.Image), k.Root.Len(), k.Root.Size())
		if len(k.Image) < 5<<20 || k.Root.Size() > 8<<20 {
			t.Errorf("%s: kernel of %d bytes, modules of %d", arch, len(k.Image), k.Root.Size())
		}
		have := map[string]bool{}
		for _, e := range k.Root.Entries() {
			have[depmod.Name(e.Path)] = true
			if !strings.HasPrefix(e.Path, "lib") {
				t.Errorf("%s lies outside lib", e.Path)
			}
		}
		for _, m := range []string{"overlay", "virtio_net", "modules.dep", "modules.alias", "modules.builtin"} {
			if !have[m] {
				t.Errorf("%s: %s is missing", arch, m)
			}
		}
	}
}

func TestModulesAskedFor(t *testing.T) {
	a := archive(t, "amd64")
	k, err := FromDebian(t.Context(), a, "linux-image-cloud-amd64", []string{"veth"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range k.Root.Entries() {
		if strings.HasSuffix(e.Path, ".ko") {
			got = append(got, depmod.Name(e.Path))
		}
	}
	if len(got) != 1 || got[0] != "veth" {
		t.Errorf("got %v", got)
	}
	var missing *modules.MissingError
	if _, err := FromDebian(t.Context(), a, "linux-image-cloud-amd64", []string{"warp_drive"}); !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
	if _, err := FromDebian(t.Context(), a, "busybox-static", nil); err == nil {
		t.Error("a kernel was found in busybox")
	}
}
