package bench

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
)

// Sizes holds the sizes of an initial RAM disk, in bytes.
type Sizes struct {
	ImagePacked   int64 `json:"image_packed"`   // the file
	ImageUnpacked int64 `json:"image_unpacked"` // content of all files
	// The guest is everything except containers and kernel modules: the init and its
	// files.
	GuestUnpacked int64 `json:"guest_unpacked"`
	GuestPacked   int64 `json:"guest_packed"` // zstd at its best in Go's library, which is not zstd(1)'s
}

// MeasureInitrd reads an initrd: any number of cpio archives in a row, plain or
// compressed as a whole by zstd or gzip.
func MeasureInitrd(path string) (Sizes, error) {
	var s Sizes
	f, err := os.Open(path)
	if err != nil {
		return s, fmt.Errorf("cannot measure the initrd: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return s, fmt.Errorf("cannot measure the initrd: %w", err)
	}
	s.ImagePacked = info.Size()
	if err := s.unpack(bufio.NewReader(f)); err != nil {
		return s, fmt.Errorf("cannot measure the initrd %s: %w", path, err)
	}
	return s, nil
}

func (s *Sizes) unpack(r *bufio.Reader) error {
	magic, err := r.Peek(4)
	if err != nil {
		return err
	}
	plain := r
	switch {
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r)
		if err != nil {
			return err
		}
		defer z.Close()
		plain = bufio.NewReader(z)
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		plain = bufio.NewReader(z)
	}
	return s.archives(plain)
}

// archives reads cpio archives that are separated by zeros.
func (s *Sizes) archives(r *bufio.Reader) error {
	var packed counter
	pack, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(64<<20)) // as packed by keelson build --compression best
	if err != nil {
		return err
	}
	for {
		if err := s.archive(cpio.NewReader(r), pack); err != nil {
			return err
		}
		if err := skipZeros(r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	if err := pack.Close(); err != nil {
		return err
	}
	s.GuestPacked = int64(packed)
	return nil
}

func (s *Sizes) archive(r *cpio.Reader, pack io.Writer) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !h.Mode.IsRegular() {
			continue
		}
		s.ImageUnpacked += h.Size
		name := strings.TrimLeft(h.Name, "./")
		if strings.HasPrefix(name, "containers/") || strings.HasPrefix(name, "lib/modules/") {
			continue
		}
		s.GuestUnpacked += h.Size
		if _, err := io.Copy(pack, r); err != nil {
			return err
		}
	}
}

func skipZeros(r *bufio.Reader) error {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return r.UnreadByte()
		}
	}
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
