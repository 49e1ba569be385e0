package mounts

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// superblockSize is the size of the superblock, in bytes. The tree begins with the next
// block of hashes.
const superblockSize = 512

// verityBlock is the size of blocks if Blocks is set.
const verityBlock = 4096

// tree describes the hash tree.
func (v Verity) tree() (veritySuperblock, error) {
	if v.Blocks == 0 {
		return v.superblock()
	}
	salt, err := hex.DecodeString(v.Salt)
	s := veritySuperblock{"sha256", verityBlock, verityBlock, v.Blocks, salt}
	switch {
	case err != nil || len(salt) > maxSalt:
		return s, fmt.Errorf("cannot use the hash tree of %s: bad salt %q", v.File, v.Salt)
	case v.Blocks < 0 || v.Blocks > v.HashOffset/verityBlock:
		return s, fmt.Errorf("cannot use the hash tree of %s: %d blocks of data do not fit before it", v.File, v.Blocks)
	case s.hashSize() != hex.DecodedLen(len(v.RootHash)):
		return s, fmt.Errorf("cannot use the hash tree of %s: the root hash %q is not one of %s", v.File, v.RootHash, s.algorithm)
	}
	return s, nil
}

// maxSalt is the largest salt, in bytes.
const maxSalt = 256

// veritySuperblock is what the superblock says of the hash tree. Sizes are in bytes.
type veritySuperblock struct {
	algorithm            string
	dataBlock, hashBlock int64
	blocks               int64
	salt                 []byte
}

func (s veritySuperblock) sectors() uint64 { return uint64(s.blocks * s.dataBlock / 512) }

func (v Verity) superblock() (s veritySuperblock, err error) {
	f, err := os.Open(v.File)
	if err != nil {
		return s, fmt.Errorf("cannot read a hash tree: %w", err)
	}
	defer f.Close()
	data := make([]byte, superblockSize)
	if _, err = f.ReadAt(data, v.HashOffset); err == nil {
		s, err = parseSuperblock(data, v.HashOffset)
	}
	if err == nil && s.hashSize() != hex.DecodedLen(len(v.RootHash)) {
		err = fmt.Errorf("the root hash %q is not one of %s", v.RootHash, s.algorithm)
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the file ends before it")
	}
	if err != nil {
		return s, fmt.Errorf("cannot use the hash tree of %s: %w", v.File, err)
	}
	return s, nil
}

// hashSize returns the size of a hash, or 0 for an algorithm that is not supported.
func (s veritySuperblock) hashSize() int {
	return map[string]int{"sha256": 32, "sha512": 64}[s.algorithm]
}

// parseSuperblock reads the superblock of a hash tree at offset, behind the data (the
// documentation of cryptsetup, DMVerity). All integers are in little-endian order:
//
//	 0 "verity\0\0"   8 version (1)     12 type of hash (1)
//	16 UUID          32 algorithm       64 size of data blocks
//	68 size of hash blocks              72 number of data blocks
//	80 size of salt  88 salt (256)
func parseSuperblock(data []byte, offset int64) (s veritySuperblock, err error) {
	if len(data) < superblockSize || string(data[:8]) != "verity\x00\x00" {
		return s, errors.New("it has no superblock")
	}
	le := binary.LittleEndian
	if version, kind := le.Uint32(data[8:]), le.Uint32(data[12:]); version != 1 || kind != 1 {
		return s, fmt.Errorf("version %d with hashes of type %d is not supported", version, kind)
	}
	s.algorithm, _, _ = strings.Cut(string(data[32:64]), "\x00")
	s.dataBlock, s.hashBlock = int64(le.Uint32(data[64:])), int64(le.Uint32(data[68:]))
	blocks, salt := le.Uint64(data[72:]), int(le.Uint16(data[80:]))
	switch {
	case s.hashSize() == 0:
		return s, fmt.Errorf("algorithm %q is not supported", s.algorithm)
	case !blockSize(s.dataBlock) || !blockSize(s.hashBlock):
		return s, fmt.Errorf("blocks of %d and %d bytes are not supported", s.dataBlock, s.hashBlock)
	case blocks == 0 || offset <= 0 || blocks > uint64(offset/s.dataBlock):
		return s, fmt.Errorf("%d blocks of data do not fit before it", blocks)
	case salt > maxSalt:
		return s, fmt.Errorf("its salt has %d bytes", salt)
	}
	s.blocks, s.salt = int64(blocks), data[88:88+salt]
	return s, nil
}

// blockSize reports whether every kernel can use blocks of n bytes.
func blockSize(n int64) bool { return n >= 512 && n <= 4096 && n&(n-1) == 0 }
