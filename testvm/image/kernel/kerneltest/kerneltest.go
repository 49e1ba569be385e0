// Package kerneltest makes files that look like kernels, for tests. Nothing starts them.
package kerneltest

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
)

// Vmlinux returns an ELF file of amd64 that contains a configuration, unless it is empty, and if
// pvh is true the note with the entry point of the PVH boot protocol.
func Vmlinux(config string, pvh bool) []byte {
	note := binary.LittleEndian.AppendUint32(nil, 4)
	note = binary.LittleEndian.AppendUint32(note, 4)
	note = binary.LittleEndian.AppendUint32(note, map[bool]uint32{true: 18, false: 1}[pvh])
	note = append(note, "Xen\x00\x00\x00\x00\x01"...)
	const headers = 64 + 56
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	p := elf.Prog64{Type: uint32(elf.PT_NOTE), Off: headers, Filesz: uint64(len(note)), Memsz: uint64(len(note)), Align: 4}
	var b bytes.Buffer
	for _, part := range []any{h, p} {
		_ = binary.Write(&b, binary.LittleEndian, part) // A buffer takes everything.
	}
	b.Write(note)
	if config != "" {
		b.WriteString("IKCFG_ST")
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(config))
		_ = z.Close()
		b.WriteString("IKCFG_ED")
	}
	b.Write(make([]byte, 4096))
	return b.Bytes()
}

// BzImage returns a bzImage with a payload and the size that this has without compression.
func BzImage(payload []byte, size int) []byte {
	const sectors = 3
	b := make([]byte, (sectors+1)*512)
	b[0x1f1] = sectors
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x20f)
	binary.LittleEndian.PutUint32(b[0x248:], 16)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(payload)+4))
	b = append(append(b, make([]byte, 16)...), payload...)
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	return append(b, "signature"...)
}
