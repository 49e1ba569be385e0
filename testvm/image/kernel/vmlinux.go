package kernel

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// ErrNoVmlinux is returned for a file that neither is nor contains an uncompressed kernel of
// amd64.
var ErrNoVmlinux = errors.New("it is neither vmlinux of amd64 nor a bzImage that contains it")

// Vmlinux returns the uncompressed kernel of amd64, an ELF file: the image itself, or what a bzImage
// contains (kernel doc arch/x86/boot.rst, payload_offset). It needs the program xz for a payload
// compressed with xz, which the kernel filters in a way that no Go library reads.
func Vmlinux(image []byte) ([]byte, error) {
	if bytes.HasPrefix(image, []byte(elf.ELFMAG)) {
		return image, checkELF(image)
	}
	payload, size, err := payloadOf(image)
	if err != nil {
		return nil, err
	}
	out, err := decompress(payload, int64(size)+1)
	if err != nil {
		return nil, fmt.Errorf("cannot unpack the kernel in the bzImage: %w", err)
	}
	if len(out) != int(size) {
		return nil, fmt.Errorf("cannot unpack the kernel in the bzImage: it has not %d bytes, as its image says", size)
	}
	return out, checkELF(out)
}

// decompress returns at most limit bytes of a payload.
func decompress(payload []byte, limit int64) ([]byte, error) {
	r := io.Reader(bytes.NewReader(payload))
	switch {
	case bytes.HasPrefix(payload, []byte("\xfd7zXZ\x00")):
		return unxz(r, limit)
	case bytes.HasPrefix(payload, []byte("\x02\x21\x4c\x18")): // the frame of lz4 -l
		r = lz4.NewReader(r)
	case bytes.HasPrefix(payload, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		z.Multistream(false)
		r = z
	case bytes.HasPrefix(payload, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	case !bytes.HasPrefix(payload, []byte(elf.ELFMAG)):
		return nil, fmt.Errorf("it begins with % x, which is none of gzip, lz4, xz and zstd", payload[:4])
	}
	return io.ReadAll(io.LimitReader(r, limit))
}

// Offsets in the header of a bzImage, and the size of a sector (arch/x86/boot.rst).
const (
	setupSects    = 0x1f1
	headerMagic   = 0x202
	headerVersion = 0x206
	payloadOffset = 0x248
	payloadLength = 0x24c
	headerEnd     = 0x250
	sector        = 512
	payloadSince  = 0x208 // the version that has a payload
)

// zstdWindow is the largest window of a kernel compressed with zstd (scripts/Makefile.lib), in bytes.
const zstdWindow = 128 << 20

// payloadOf returns the compressed kernel in a bzImage, and its size without compression: the last
// four bytes of the payload, which belong to the compressed data only with gzip.
func payloadOf(image []byte) (payload []byte, size uint32, err error) {
	if len(image) < headerEnd || !bytes.Equal(image[headerMagic:headerMagic+4], []byte("HdrS")) ||
		binary.LittleEndian.Uint16(image[headerVersion:]) < payloadSince {
		return nil, 0, ErrNoVmlinux
	}
	sectors := int64(image[setupSects])
	if sectors == 0 {
		sectors = 4
	}
	begin := (sectors+1)*sector + int64(binary.LittleEndian.Uint32(image[payloadOffset:]))
	end := begin + int64(binary.LittleEndian.Uint32(image[payloadLength:]))
	if end > int64(len(image)) || end-begin < 8 {
		return nil, 0, fmt.Errorf("%w: its payload is outside of the file", ErrNoVmlinux)
	}
	payload = image[begin:end]
	size = binary.LittleEndian.Uint32(payload[len(payload)-4:])
	if !bytes.HasPrefix(payload, []byte{0x1f, 0x8b}) {
		payload = payload[:len(payload)-4]
	}
	return payload, size, nil
}

// unxz runs xz, whose error means nothing if the limit has ended it.
func unxz(r io.Reader, limit int64) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("xz", "--decompress", "--stdout", "--single-stream")
	cmd.Stdin, cmd.Stderr = r, &stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("xz (Debian package xz-utils): %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(stdout, limit))
	stdout.Close()
	if failed := cmd.Wait(); failed != nil && int64(len(out)) < limit {
		err = errors.Join(err, fmt.Errorf("xz: %w: %s", failed, strings.TrimSpace(stderr.String())))
	}
	return out, err
}

// checkELF checks that a kernel is for amd64.
func checkELF(image []byte) error {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoVmlinux, err)
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return fmt.Errorf("%w: it is an ELF file of %v, %v", ErrNoVmlinux, f.Machine, f.Type)
	}
	return nil
}

// pvhEntry is the type of the ELF note that names the 32-bit entry point of the PVH boot protocol
// (XEN_ELFNOTE_PHYS32_ENTRY, include/xen/interface/elfnote.h).
const pvhEntry = 18

// HasPVH reports whether a hypervisor that uses the PVH boot protocol, such as QEMU and Cloud
// Hypervisor, can start vmlinux.
func HasPVH(vmlinux []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(vmlinux))
	if err != nil {
		return false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > uint64(len(vmlinux)) {
			continue
		}
		if notes, err := io.ReadAll(p.Open()); err == nil && hasNote(notes, "Xen", pvhEntry) {
			return true
		}
	}
	return false
}

// hasNote looks for an ELF note (elf(5), Nhdr), each part of which is padded to four bytes.
func hasNote(notes []byte, name string, kind uint32) bool {
	const header = 12
	padded := func(n uint32) uint64 { return (uint64(n) + 3) &^ 3 }
	for len(notes) >= header {
		nameSize, descSize := binary.LittleEndian.Uint32(notes), binary.LittleEndian.Uint32(notes[4:])
		next := header + padded(nameSize) + padded(descSize)
		if next > uint64(len(notes)) {
			return false
		}
		if binary.LittleEndian.Uint32(notes[8:]) == kind && string(bytes.TrimRight(notes[header:header+nameSize], "\x00")) == name {
			return true
		}
		notes = notes[next:]
	}
	return false
}

// configLimit is the largest size of a configuration, in bytes.
const configLimit = 4 << 20

// Settings returns the configuration that vmlinux contains (CONFIG_IKCONFIG), by names without
// CONFIG_, or nil if it contains none.
func Settings(vmlinux []byte) (map[string]string, error) {
	_, rest, ok := bytes.Cut(vmlinux, []byte("IKCFG_ST\x1f\x8b"))
	if !ok {
		return nil, nil
	}
	z, err := gzip.NewReader(io.MultiReader(strings.NewReader("\x1f\x8b"), bytes.NewReader(rest)))
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel's configuration: %w", err)
	}
	z.Multistream(false)
	text, err := io.ReadAll(io.LimitReader(z, configLimit))
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel's configuration: %w", err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			if name, ok := strings.CutPrefix(name, "CONFIG_"); ok {
				settings[name] = value
			}
		}
	}
	return settings, nil
}
