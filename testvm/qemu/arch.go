package qemu

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// DetectArch returns the architecture of a kernel image, by its header.
func DetectArch(kernel string) (string, error) {
	f, err := os.Open(kernel)
	if err != nil {
		return "", fmt.Errorf("cannot read the kernel: %w", err)
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.ErrUnexpectedEOF {
		return "", fmt.Errorf("cannot read the kernel %s: %w", kernel, err)
	}
	if arch := archOf(head[:n]); arch != "" {
		return arch, nil
	}
	return "", fmt.Errorf("cannot tell the architecture of %s: it is neither vmlinux of x86, a bzImage of x86 or s390x nor an Image of arm64 or riscv64", kernel)
}

// headSize is the size of the part of a kernel that identifies its architecture: on s390x
// the mark follows 64 KiB of boot loader.
const headSize = 0x10010

func archOf(head []byte) string {
	at := func(offset int, magic string) bool {
		return len(head) >= offset+len(magic) && bytes.Equal(head[offset:offset+len(magic)], []byte(magic))
	}
	switch {
	case at(0x202, "HdrS"), at(0, "\x7fELF\x02\x01") && at(0x12, "\x3e\x00"):
		return AMD64
	case at(0x10008, "S390EP"):
		return S390X
	case at(0x38, "RSC\x05"):
		return RISCV
	case at(0x38, "ARM\x64"), at(0, "\x1f\x8b"), at(4, "zimg"):
		// x86 kernels decompress themselves: a gzip or EFI zboot file is arm64's.
		return ARM64
	}
	return ""
}
