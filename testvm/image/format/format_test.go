package format

import (
	"slices"
	"strings"
	"testing"
)

// The table can be used: names, endings and combinations are each there once,
// and what is claimed to boot exists.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	once := func(what string) {
		if seen[what] {
			t.Errorf("%s is there twice", what)
		}
		seen[what] = true
	}
	for _, f := range Table {
		for _, name := range append(f.Aliases, f.Name) {
			once("name " + name)
		}
		once("ending " + f.Files[0])
		if f.About == "" || len(f.Archs) == 0 {
			t.Errorf("%s lacks a description or architectures", f.Name)
		}
		if bootable := f.Start != Never; bootable != (len(f.boots) > 0) {
			t.Errorf("%s: started by %q, with %d combinations tested", f.Name, f.Start, len(f.boots))
		}
		for _, arch := range f.Archs {
			booted := slices.ContainsFunc(f.boots, func(b boot) bool { return b.arch == arch })
			if f.Start != Never && !booted {
				t.Errorf("%s: nothing tests that it boots on %s", f.Name, arch)
			}
			for _, tool := range f.Tools(arch) {
				if strings.Contains(tool.Program+tool.Package, "ARCH") || tool.Package == "" {
					t.Errorf("%s: tool %+v", f.Name, tool)
				}
			}
		}
		if f.Start != Never && !slices.ContainsFunc(f.boots, func(b boot) bool { return b.often }) {
			t.Errorf("%s is booted in the long tests only", f.Name)
		}
	}
	for _, b := range Boots() {
		once("boot " + b.String())
		if !b.Format.For(b.Arch) || (b.Bus == "") != (b.Format.Start == ByKernel) {
			t.Errorf("%s cannot be", b)
		}
	}
}

func TestSelect(t *testing.T) {
	got, err := Select([]string{"oci", "erofs", "kernel+erofs", "kernel+initrd"}, AMD64)
	var names []string
	for _, f := range got {
		names = append(names, f.Name)
	}
	if err != nil || !slices.Equal(names, []string{KernelInitrd, KernelErofs, OCI}) {
		t.Errorf("got %q, %v", names, err)
	}
	for arch, name := range map[string]string{AMD64: "floppy", ARM64: "", "mips64": KernelInitrd, S390X: RawEFI} {
		if _, err := Select([]string{name}, arch); err == nil {
			t.Errorf("%q for %s is taken", name, arch)
		}
	}
}

func TestByFile(t *testing.T) {
	for file, want := range map[string]string{
		"a/x-initrd.img": KernelInitrd + " a/x", "x-erofs.img": KernelErofs + " x", "x-oci.tar": OCI + " x", "x.tar": Tar + " x",
		"x-erofs-initrd.img": "", "x-kernel": "", "x": "", "": "",
	} {
		f, prefix, ok := ByFile(file)
		if got := f.Name + " " + prefix; ok && got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", file, got, ok, want)
		}
	}
}

func TestTools(t *testing.T) {
	f := Format{tools: []Tool{{"ARCH-objcopy", "binutils-ARCH"}}}
	if got := f.Tools(AMD64); got[0] != (Tool{"x86_64-linux-gnu-objcopy", "binutils-x86-64-linux-gnu"}) {
		t.Errorf("got %+v", got)
	}
}

func TestWrite(t *testing.T) {
	var b strings.Builder
	if err := Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, f := range Table {
		if !strings.Contains(b.String(), "| `"+f.Name+"` |") {
			t.Errorf("%s is missing", f.Name)
		}
	}
}
