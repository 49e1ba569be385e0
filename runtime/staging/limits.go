package staging

import (
	"errors"
	"fmt"
	"io"

	"keelson/runtime/artifact"
)

// Limits of what is read. They are far above real artifacts.
const (
	maxEntries   = 1_000_000 // of all layers
	maxMembers   = 10_000    // of the layout
	maxManifests = 1_000     // descriptors in index.json and the indexes that it names
	maxDepth     = 4         // of nested indexes
	maxWindow    = 128 << 20 // of zstd, in bytes: that of `zstd --ultra -22`
	maxTrailer   = 1 << 20   // after the end of a tar, in bytes: tar(1) fills its last record
	entryCost    = 512       // of an entry of a layer beyond its content, in bytes: inode and name
)

var errTooLarge = errors.New("too large")

// budget limits the bytes that are on the disk, and the entries of all layers.
type budget struct {
	limit, used int64
	entries     int
}

// take reserves n bytes before they are written.
func (b *budget) take(n int64) error {
	if n < 0 || n > b.limit-b.used {
		return fmt.Errorf("%w: the files need more than %d MiB, the limit of this machine", errTooLarge, b.limit>>20)
	}
	b.used += n
	return nil
}

// give returns what a removed file had taken.
func (b *budget) give(n int64) { b.used -= n }

func (b *budget) entry(size int64) error {
	if b.entries++; b.entries > maxEntries {
		return fmt.Errorf("%w: more than %d entries", errTooLarge, maxEntries)
	}
	if size > b.limit { // Not added to entryCost: the sum could overflow.
		return b.take(size)
	}
	return b.take(entryCost + size)
}

// drain reads the rest of r, so that checksums at its end are compared.
func drain(r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxTrailer+1))
	if err == nil && n > maxTrailer {
		err = fmt.Errorf("%w: more than %d bytes follow the end of the archive", errTooLarge, maxTrailer)
	}
	return err
}

// document reads a JSON document.
func document(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, artifact.MaxDocument+1))
	if err == nil && len(data) > artifact.MaxDocument {
		err = fmt.Errorf("%w: more than %d bytes", errTooLarge, artifact.MaxDocument)
	}
	return data, err
}
