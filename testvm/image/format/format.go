package format

import (
	"fmt"
	"slices"
	"strings"
)

// Names of formats.
const (
	KernelInitrd   = "kernel+initrd"
	KernelSquashfs = "kernel+squashfs"
	KernelErofs    = "kernel+erofs"
	ISOEFI         = "iso-efi"
	RawEFI         = "raw-efi"
	Qcow2EFI       = "qcow2-efi"
	RawBIOS        = "raw-bios"
	RPi            = "rpi"
	Tar            = "tar"
	OCI            = "oci"
	MicroVMs       = "microvm"
)

// Architectures, in Go's spelling.
const (
	AMD64 = "amd64"
	ARM64 = "arm64"
	RISCV = "riscv64"
	S390X = "s390x"
)

// Start is the way in which a machine starts a format.
type Start string

// The ways to start.
const (
	Never    Start = ""              // no machine starts it
	ByKernel Start = "kernel loader" // a loader loads kernel, initrd and command line
	ByRoot   Start = "kernel loader, root on a disk"
	ByUEFI   Start = "UEFI"             // firmware starts a program on the disk
	ByBIOS   Start = "PC BIOS"          // firmware runs the disk's first sector
	ByBoard  Start = "board's firmware" // firmware loads kernel, initrd and command line from the first partition
)

// Format is one kind of output.
type Format struct {
	Name    string
	Aliases []string
	About   string // what it is for
	Archs   []string
	// Files are the suffixes of its files. The first identifies the format.
	Files  []string
	Kernel bool // needs a kernel
	Sized  bool // supports --size
	Start  Start
	// Root is the file system of a root on a disk.
	Root string
	// Machine is the machine that boots it by default; the usual one of its architecture if empty.
	Machine string
	tools   []Tool
	boots   []boot
}

// Tool is a program or file of the building machine, and the Debian package that
// contains it. ARCH in either stands for GNU's name of the architecture.
type Tool struct{ Program, Package string }

// triples are GNU's names of architectures.
var triples = map[string]string{AMD64: "x86_64-linux-gnu", ARM64: "aarch64-linux-gnu", RISCV: "riscv64-linux-gnu", S390X: "s390x-linux-gnu"}

// Triple returns GNU's name of an architecture.
func Triple(arch string) string { return triples[arch] }

// Tools returns what the building machine needs to make f for arch.
func (f Format) Tools(arch string) []Tool {
	var out []Tool
	for _, t := range f.tools {
		program := strings.ReplaceAll(t.Program, "ARCH", Triple(arch))
		// Debian writes x86-64 where GNU writes x86_64.
		out = append(out, Tool{program, strings.ReplaceAll(t.Package, "ARCH", strings.ReplaceAll(Triple(arch), "_", "-"))})
	}
	return out
}

// For reports whether f can be made for arch.
func (f Format) For(arch string) bool { return slices.Contains(f.Archs, arch) }

// Find returns the format of that name.
func Find(name string) (Format, error) {
	for _, f := range Table {
		if f.Name == name || slices.Contains(f.Aliases, name) {
			return f, nil
		}
	}
	return Format{}, fmt.Errorf("there is no format %q: use one of %s", name, strings.Join(Names(), ", "))
}

// Select returns the formats of those names, each once, in the table's order. Unknown
// names and formats that arch does not support are errors.
func Select(names []string, arch string) ([]Format, error) {
	want := map[string]bool{}
	for _, name := range names {
		f, err := Find(name)
		if err != nil {
			return nil, err
		}
		if !f.For(arch) {
			return nil, fmt.Errorf("there is no format %s for %s: only for %s", f.Name, arch, strings.Join(f.Archs, ", "))
		}
		want[f.Name] = true
	}
	var out []Format
	for _, f := range Table {
		if want[f.Name] {
			out = append(out, f)
		}
	}
	return out, nil
}

// Names returns all names, in the table's order.
func Names() []string {
	var names []string
	for _, f := range Table {
		names = append(names, f.Name)
	}
	return names
}

// ByFile returns the format whose first file has this name, and the name without the
// suffix.
func ByFile(file string) (f Format, prefix string, ok bool) {
	longest := ""
	for _, candidate := range Table {
		for i, suffix := range candidate.Files {
			if strings.HasSuffix(file, suffix) && len(suffix) > len(longest) {
				f, longest, ok = candidate, suffix, i == 0
			}
		}
	}
	return f, strings.TrimSuffix(file, longest), ok
}
