// Package unpack decompresses kernel modules that the kernel cannot decompress: those in a
// format that it does not support (CONFIG_MODULE_DECOMPRESS, one of three formats; zstd
// since Linux 6.2), and xz with a check other than CRC32, which is the default of xz(1).
//
// It is not part of /init, which would grow by a tenth: /init starts a program that
// contains it.
//
// Sources: RFC 1952 (gzip), RFC 8878 (zstd), the .xz file format 1.2.0; the
// kernel's kernel/module/decompress.c.
package unpack

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Limit is the largest size of an unpacked module, in bytes.
const Limit = 1 << 30

// ErrFormat is returned for data in none of the formats.
var ErrFormat = errors.New("neither gzip, xz nor zstd")

// Copy unpacks r to w. The first bytes of r decide between gzip, xz and zstd.
func Copy(w io.Writer, r io.Reader) error {
	unpacked, err := reader(bufio.NewReader(r))
	if err != nil {
		return fmt.Errorf("cannot unpack: %w", err)
	}
	n, err := io.Copy(w, io.LimitReader(unpacked, Limit))
	if err == nil && n == Limit {
		err = fmt.Errorf("it has %d bytes or more", int64(Limit))
	}
	if err != nil {
		return fmt.Errorf("cannot unpack: %w", err)
	}
	return nil
}

func reader(r *bufio.Reader) (io.Reader, error) {
	magic, err := r.Peek(6)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(r)
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		return xz.NewReader(r)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	}
	return nil, ErrFormat
}
