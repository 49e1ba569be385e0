package fsimage

import (
	"encoding/hex"
	"fmt"
	"os"

	"github.com/containerd/go-dmverity/pkg/verity"
	"github.com/google/uuid"

	"keelson/runtime/artifact"
)

// verityBlock is the size of blocks of data and hashes: the kernel refuses blocks that are
// larger than its pages.
const verityBlock = artifact.VerityBlock

// Verity is the hash tree behind a file system.
type Verity struct {
	RootHash string // SHA-256, in hexadecimal
	Offset   int64  // of its superblock, which is the size of the file system
	Blocks   int64  // of the file system
	Salt     string // in hexadecimal
}

// AddVerity appends a dm-verity hash tree with a superblock to a file system (the kernel's
// Documentation/admin-guide/device-mapper/verity.rst; veritysetup(8) reads it). id
// identifies the tree, and salts its hashes.
func AddVerity(file string, id uuid.UUID) (Verity, error) {
	size, err := padTo(file, verityBlock)
	if err != nil {
		return Verity{}, fmt.Errorf("cannot add a hash tree to %s: %w", file, err)
	}
	p := verity.DefaultParams()
	p.DataBlockSize, p.HashBlockSize, p.DataBlocks = verityBlock, verityBlock, uint64(size/verityBlock)
	p.Salt, p.SaltSize, p.UUID = id[:], uint16(len(id)), id
	p.HashAreaOffset = uint64(size)
	hash, err := verity.Create(&p, file, file)
	if err != nil {
		return Verity{}, fmt.Errorf("cannot add a hash tree to %s: %w", file, err)
	}
	if _, err := padTo(file, verityBlock); err != nil { // A tree without levels ends with its superblock.
		return Verity{}, fmt.Errorf("cannot add a hash tree to %s: %w", file, err)
	}
	return Verity{hex.EncodeToString(hash), size, size / verityBlock, hex.EncodeToString(id[:])}, nil
}

// padTo makes the size of a file a multiple of n and returns it.
func padTo(file string, n int64) (int64, error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	size := (info.Size() + n - 1) / n * n
	return size, os.Truncate(file, size)
}
