package depmod

import (
	"bufio"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"kernel/fs/overlayfs/overlay.ko": "overlay", "snd-hda-intel.ko.zst": "snd_hda_intel",
		"a/b-c.ko.xz": "b_c", "x": "x", "a.ko.gz": "a",
	} {
		if got := Name(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	modules, err := ParseDep(strings.NewReader("# comment\nkernel/a-b.ko.xz: kernel/c.ko kernel/d.ko\nkernel/c.ko:\n\nno colon\n:\n"))
	want := map[string]Module{
		"a_b": {"kernel/a-b.ko.xz", []string{"kernel/c.ko", "kernel/d.ko"}}, "c": {"kernel/c.ko", []string{}},
	}
	if err != nil || !reflect.DeepEqual(modules, want) {
		t.Errorf("modules.dep: %+v, %v", modules, err)
	}
	aliases, err := ParseAlias(strings.NewReader("alias pci:v1d* virtio-pci\nalias x\nother a b\n"))
	if err != nil || !slices.Equal(aliases, []Alias{{"pci:v1d*", "virtio_pci"}}) {
		t.Errorf("modules.alias: %+v, %v", aliases, err)
	}
	soft, err := ParseSoftdep(strings.NewReader("softdep a-x pre: b-c d post: e\nsoftdep a_x post: f\nsoftdep g\nsoftdep h i\n"))
	if err != nil || !reflect.DeepEqual(soft, map[string]Soft{"a_x": {[]string{"b_c", "d"}, []string{"e", "f"}}, "h": {}}) {
		t.Errorf("modules.softdep: %+v, %v", soft, err)
	}
	builtin, err := ParseBuiltin(strings.NewReader("kernel/fs/ext4/ext4.ko\n"))
	if err != nil || !reflect.DeepEqual(builtin, map[string]bool{"ext4": true}) {
		t.Errorf("modules.builtin: %+v, %v", builtin, err)
	}
	nodes, err := ParseDevname(strings.NewReader("# comment\nfuse fuse c10:229\n" +
		"tun net/tun c10:200\nx ../x c1:1\nx /x c1:1\nloop loop0 b7:0\ny y c99999:1\ny y c1\ny y\n"))
	if err != nil || !slices.Equal(nodes, []Node{{"fuse", 10, 229}, {"net/tun", 10, 200}}) {
		t.Errorf("modules.devname: %+v, %v", nodes, err)
	}
}

func TestLongLine(t *testing.T) {
	if _, err := ParseDep(strings.NewReader(strings.Repeat("x", 1<<20))); !errors.Is(err, bufio.ErrTooLong) {
		t.Errorf("error %v, want %v", err, bufio.ErrTooLong)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("kernel/a.ko: kernel/b.ko\nalias x:* a\nsoftdep a pre: b post: c\n# c\nfuse fuse c10:229\n")
	f.Add(":\n: :\nsoftdep a\nalias\nx ../x c1:1")
	f.Fuzz(func(t *testing.T, text string) {
		modules, _ := ParseDep(strings.NewReader(text))
		for name, m := range modules {
			again, err := ParseDep(strings.NewReader(m.String()))
			if err != nil || !reflect.DeepEqual(again, map[string]Module{name: m}) {
				t.Fatalf("%+v is parsed as %+v, %v", m, again, err)
			}
		}
		aliases, _ := ParseAlias(strings.NewReader(text))
		for _, a := range aliases {
			if a.Pattern == "" || a.Module == "" || strings.Contains(a.Module, "-") {
				t.Fatalf("alias %+v", a)
			}
		}
		soft, _ := ParseSoftdep(strings.NewReader(text))
		builtin, _ := ParseBuiltin(strings.NewReader(text))
		for name := range soft {
			if strings.Contains(name, "-") {
				t.Fatalf("name %q is not normalised", name)
			}
		}
		for name := range builtin {
			if strings.ContainsAny(name, "-") {
				t.Fatalf("name %q is not normalised", name)
			}
		}
		if nodes, _ := ParseDevname(strings.NewReader(text)); slices.ContainsFunc(nodes, func(n Node) bool { return !filepath.IsLocal(n.Name) }) {
			t.Fatalf("nodes outside of /dev: %+v", nodes)
		}
	})
}
