// Package uki makes unified kernel images: UEFI programs that consist of systemd's stub, a
// kernel, its initrd and its command line.
//
// It signs nothing. objcopy of GNU binutils, built for the architecture, adds the
// sections.
//
// Sources: systemd-stub(7); the UAPI group's specification of unified kernel
// images (names of sections); the PE format specification for addresses, which
// are relative to the image's base.
package uki

import (
	"bytes"
	"context"
	"debug/pe"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Image holds the names of the files that a unified kernel image is made from.
type Image struct {
	Stub, OSRelease, Cmdline, Initrd, Kernel string
}

// section is a section to add.
type section struct{ name, file string }

// page is the alignment of sections in memory, in bytes.
const page = 4096

// Make writes the image to file with the given objcopy.
func (i Image) Make(ctx context.Context, objcopy, file string) error {
	at, err := end(i.Stub)
	if err != nil {
		return fmt.Errorf("cannot use EFI stub %s: %w", i.Stub, err)
	}
	// The same timestamp as in the stub: Debian's is 0.
	args := []string{"--preserve-dates"}
	for _, s := range []section{{".osrel", i.OSRelease}, {".cmdline", i.Cmdline}, {".initrd", i.Initrd}, {".linux", i.Kernel}} {
		info, err := os.Stat(s.file)
		if err != nil {
			return fmt.Errorf("cannot make a unified kernel image: %w", err)
		}
		at = (at + page - 1) / page * page
		args = append(args, "--add-section", s.name+"="+s.file, "--change-section-vma", fmt.Sprintf("%s=%#x", s.name, at))
		at += uint64(info.Size())
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, objcopy, append(args, i.Stub, file)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "LC_ALL=C"), &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot make a unified kernel image: %s: %w: %s", objcopy, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// end returns the address after the last section of a program.
func end(stub string) (uint64, error) {
	f, err := pe.Open(stub)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	header, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok {
		return 0, errors.New("it is not a 64-bit program")
	}
	at := uint64(0)
	for _, s := range f.Sections {
		at = max(at, header.ImageBase+uint64(s.VirtualAddress)+uint64(s.VirtualSize))
	}
	return at, nil
}
