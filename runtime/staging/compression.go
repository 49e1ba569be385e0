package staging

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// plain returns the tar in r. Its first bytes decide whether it is compressed.
func plain(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10) // the size of a pipe
	magic, err := buffered.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gunzip(buffered)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return unzstd(buffered)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case len(magic) == 0:
		return nil, errors.New("it is empty")
	}
	from, _ := r.(*os.File)
	return &source{Reader: buffered, from: from}, nil
}

// layerFormats are the media types of layers: those of OCI, and Docker's, which images
// that were pushed by older tools have.
var layerFormats = map[string]func(io.Reader) (io.ReadCloser, error){
	v1.MediaTypeImageLayer:                              uncompressed,
	v1.MediaTypeImageLayerGzip:                          gunzip,
	v1.MediaTypeImageLayerZstd:                          unzstd,
	"application/vnd.docker.image.rootfs.diff.tar":      uncompressed,
	"application/vnd.docker.image.rootfs.diff.tar.gzip": gunzip,
}

func uncompressed(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(bufio.NewReader(r)), nil }

func gunzip(r io.Reader) (io.ReadCloser, error) {
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return nil, fmt.Errorf("cannot read it as gzip: %w", err)
	}
	return z, nil
}

func unzstd(r io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("cannot read it as zstd: %w", err)
	}
	return z.IOReadCloser(), nil
}
