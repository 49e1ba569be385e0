package mounts

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/go-dmverity/pkg/dm"
	"github.com/containerd/go-dmverity/pkg/verity"
	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

// withTree writes an image of 3 blocks with a hash tree, and returns what go-dmverity says
// of it.
func withTree(t *testing.T, salt []byte) (Verity, verity.Params) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "root.erofs")
	const size = 3 * 4096
	must(t, os.WriteFile(file, make([]byte, size), 0o600))
	p := verity.DefaultParams()
	p.DataBlockSize, p.HashBlockSize, p.DataBlocks, p.HashAreaOffset = 4096, 4096, 3, size
	p.Salt, p.SaltSize = salt, uint16(len(salt))
	hash, err := verity.Create(&p, file, file)
	must(t, err)
	return Verity{File: file, RootHash: hex.EncodeToString(hash), HashOffset: size}, p
}

func TestVerityTable(t *testing.T) {
	for _, salt := range [][]byte{nil, []byte("0123456789abcdef")} {
		v, p := withTree(t, salt)
		s, err := v.superblock()
		must(t, err)
		root, err := hex.DecodeString(v.RootHash)
		must(t, err)
		want, err := dm.BuildTargetParams(dm.OpenArgs{
			Version: 1, DataDevice: "7:3", HashDevice: "7:3", DataBlockSize: 4096, HashBlockSize: 4096, DataBlocks: 3,
			HashName: "sha256", RootDigest: root, Salt: p.Salt[:p.SaltSize], HashStartBytes: uint64(v.HashOffset) + 4096,
		})
		must(t, err)
		if got := v.table(unix.Mkdev(7, 3), s); got != want || s.sectors() != 24 {
			t.Errorf("table %q of %d sectors, want %q of 24", got, s.sectors(), want)
		}
	}
}

// A hash tree whose parameters are given is described as its superblock does, which is not read.
func TestTreeWithoutSuperblock(t *testing.T) {
	v, p := withTree(t, []byte("0123456789abcdef"))
	want, err := v.tree()
	must(t, err)
	must(t, os.Truncate(v.File, v.HashOffset))
	v.Blocks, v.Salt = int64(p.DataBlocks), hex.EncodeToString(p.Salt[:p.SaltSize])
	got, err := v.tree()
	must(t, err)
	if gotTable, wantTable := v.table(7, got), v.table(7, want); gotTable != wantTable || got.sectors() != want.sectors() {
		t.Errorf("table %q, want %q", gotTable, wantTable)
	}
	for name, change := range map[string]func(*Verity){
		"4 blocks of data do not fit":  func(v *Verity) { v.Blocks = 4 },
		"-1 blocks of data do not fit": func(v *Verity) { v.Blocks = -1 },
		`bad salt "x"`:                 func(v *Verity) { v.Salt = "x" },
		"bad salt":                     func(v *Verity) { v.Salt = strings.Repeat("00", 257) },
		"is not one of sha256":         func(v *Verity) { v.RootHash = "00" },
	} {
		bad := v
		change(&bad)
		if _, err := bad.tree(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func TestSuperblockErrors(t *testing.T) {
	v, _ := withTree(t, []byte("salt"))
	data, err := os.ReadFile(v.File)
	must(t, err)
	good := data[v.HashOffset:]
	le := binary.LittleEndian
	for name, change := range map[string]func(b []byte){
		"it has no superblock":    func(b []byte) { b[0] = 'V' },
		"version 2":               func(b []byte) { le.PutUint32(b[8:], 2) },
		"hashes of type 0":        func(b []byte) { le.PutUint32(b[12:], 0) },
		`algorithm "md5"`:         func(b []byte) { copy(b[32:], "md5\x00") },
		"blocks of 0 and":         func(b []byte) { le.PutUint32(b[64:], 0) },
		"and 8192 bytes":          func(b []byte) { le.PutUint32(b[68:], 8192) },
		"0 blocks of data":        func(b []byte) { le.PutUint64(b[72:], 0) },
		"4 blocks of data do not": func(b []byte) { le.PutUint64(b[72:], 4) },
		"18446744073709551615":    func(b []byte) { le.PutUint64(b[72:], 1<<64-1) },
		"salt has 257 bytes":      func(b []byte) { le.PutUint16(b[80:], 257) },
	} {
		bad := append([]byte(nil), good...)
		change(bad)
		if _, err := parseSuperblock(bad, v.HashOffset); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
	if _, err := parseSuperblock(good[:100], v.HashOffset); err == nil {
		t.Error("a short superblock is accepted")
	}
	for _, bad := range []Verity{
		{File: v.File, RootHash: v.RootHash, HashOffset: int64(len(data))},
		{File: v.File, RootHash: "00", HashOffset: v.HashOffset},
		{File: v.File + "-not", RootHash: v.RootHash, HashOffset: v.HashOffset},
	} {
		if _, err := bad.superblock(); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func FuzzParseSuperblock(f *testing.F) {
	seed := make([]byte, superblockSize)
	copy(seed, "verity\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00")
	copy(seed[32:], "sha256")
	binary.LittleEndian.PutUint32(seed[64:], 4096)
	binary.LittleEndian.PutUint32(seed[68:], 4096)
	binary.LittleEndian.PutUint64(seed[72:], 3)
	f.Add(seed, int64(3*4096))
	f.Add(seed[:20], int64(-1))
	f.Fuzz(func(t *testing.T, data []byte, offset int64) {
		s, err := parseSuperblock(data, offset)
		if err != nil {
			return
		}
		if s.blocks <= 0 || s.blocks > offset/s.dataBlock || s.sectors() == 0 || len(s.salt) > 256 || s.hashSize() == 0 {
			t.Errorf("offset %d: %+v", offset, s)
		}
	})
}

// A loop device is read-only and ends with its last user.
func TestLoopEnds(t *testing.T) {
	tier.Root(t)
	if _, err := freeLoop(); err != nil {
		tier.Skip(t, "root tier: the kernel has no loop devices: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, make([]byte, 8192), 0o600))
	verityLock.Lock()
	fd, dev, err := openLoop(file)
	verityLock.Unlock()
	must(t, err)
	name := loopName(t, dev)
	if got := sysfsText(filepath.Join(sysBlock, name, "loop/backing_file")); got != file {
		t.Errorf("%s is on %q, want %s", name, got, file)
	}
	if got := sysfsText(filepath.Join(sysBlock, name, "ro")); got != "1" {
		t.Errorf("ro of %s is %q", name, got)
	}
	must(t, unix.Close(fd))
	if got := sysfsText(filepath.Join(sysBlock, name, "loop/backing_file")); got == file {
		t.Errorf("%s still exists", name)
	}
}

func loopName(t *testing.T, dev uint64) string {
	t.Helper()
	for _, d := range blockDevices(sysBlock) {
		if d.dev == dev {
			return d.name
		}
	}
	t.Fatalf("there is no device %d", dev)
	return ""
}

// A kernel without the device-mapper is named as such, and nothing is left.
func TestVerityWithoutMapper(t *testing.T) {
	tier.Root(t)
	if sysfsText(mapperNumber) != "" {
		t.Log("the kernel has the device-mapper; a VM test mounts images")
		return
	}
	v, _ := withTree(t, nil)
	v.Target, v.Device = t.TempDir(), VerityPrefix+"test"
	err := v.Mount()
	var lacking *LackingError
	if !errors.As(err, &lacking) || !strings.Contains(err.Error(), "device-mapper") {
		t.Errorf("got %v, want that the device-mapper is lacking", err)
	}
	if err := SweepVerity(); err != nil {
		t.Errorf("sweep: %v", err)
	}
}
