package uki

import (
	"debug/pe"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/tier"
)

// program writes a minimal program for UEFI with one section.
func program(t *testing.T, dir string) string {
	t.Helper()
	b := make([]byte, 0x600)
	put := func(at int, v any) {
		if _, err := binary.Encode(b[at:], binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	copy(b, "MZ")
	put(0x3c, uint32(0x80))
	copy(b[0x80:], "PE\x00\x00")
	put(0x84, pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: 1, SizeOfOptionalHeader: 240, Characteristics: 0x22})
	put(0x98, pe.OptionalHeader64{Magic: 0x20b, SectionAlignment: 4096, FileAlignment: 512, SizeOfImage: 0x6000,
		SizeOfHeaders: 0x400, Subsystem: 10, NumberOfRvaAndSizes: 16, AddressOfEntryPoint: 0x4000})
	put(0x98+240, pe.SectionHeader32{Name: [8]byte{'.', 't', 'e', 'x', 't'}, VirtualSize: 0x1134, VirtualAddress: 0x4000,
		SizeOfRawData: 0x200, PointerToRawData: 0x400, Characteristics: 0x60000020})
	name := filepath.Join(dir, "stub")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// The sections have their contents, do not overlap in memory and are aligned to pages.
func TestMake(t *testing.T) {
	const objcopy = "x86_64-linux-gnu-objcopy"
	tier.Tool(t, objcopy, "binutils-x86-64-linux-gnu")
	dir := t.TempDir()
	content := map[string]string{".osrel": "ID=x", ".cmdline": "quiet", ".initrd": strings.Repeat("i", 5000), ".linux": "kernel"}
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	i := Image{Stub: program(t, dir), OSRelease: at(".osrel"), Cmdline: at(".cmdline"), Initrd: at(".initrd"), Kernel: at(".linux")}
	if err := i.Make(t.Context(), objcopy, at("out")); err != nil {
		t.Fatal(err)
	}
	f, err := pe.Open(at("out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	free := uint32(0x5134)
	for name, want := range content {
		s := f.Section(name)
		if s == nil {
			t.Errorf("section %s is missing", name)
			continue
		}
		if data, err := s.Data(); err != nil || string(data[:len(want)]) != want || s.VirtualAddress%page != 0 || s.VirtualAddress < free {
			t.Errorf("section %s at %#x: %v", name, s.VirtualAddress, err)
		}
	}
	for k := 1; k+1 < len(f.Sections); k++ {
		if a, b := f.Sections[k], f.Sections[k+1]; a.VirtualAddress+a.VirtualSize > b.VirtualAddress {
			t.Errorf("%s lies over %s", a.Name, b.Name)
		}
	}
	i.Stub = at(".linux")
	if err := i.Make(t.Context(), objcopy, at("out")); err == nil || !strings.Contains(err.Error(), "EFI stub") {
		t.Errorf("a stub that is no program: %v", err)
	}
}
