package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/bootid"
)

const (
	headerSize = 512
	recordSize = 12
	bootsAt    = 32
	bootSize   = 24
	maxBoots   = (headerSize - bootsAt) / bootSize
)

// Suffix ends the name of each index.
const Suffix = ".times"

var magic = []byte("klogidx\x01")

// ErrMismatch is returned when a file is not an index, or not that of the log.
var ErrMismatch = errors.New("not the index of this log")

// Path returns the path of the index of a log.
func Path(log string) string {
	return filepath.Join(filepath.Dir(log), "."+filepath.Base(log)+Suffix)
}

// Record says when the bytes from Offset on were written.
type Record struct {
	Offset int64
	At     time.Duration // since the boot, to the microsecond
}

// putUint48 and uint48 use the first six bytes of b.
func putUint48(b []byte, v uint64) {
	binary.LittleEndian.PutUint32(b, uint32(v))
	binary.LittleEndian.PutUint16(b[4:], uint16(v>>32))
}

func uint48(b []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint16(b[4:]))<<32
}

func (r Record) encode() []byte {
	b := make([]byte, recordSize)
	putUint48(b, uint64(r.Offset))
	putUint48(b[6:], uint64(r.At.Microseconds()))
	return b
}

// decode reads a record of recordSize bytes.
func decode(b []byte) Record {
	return Record{Offset: int64(uint48(b)), At: time.Duration(uint48(b[6:])) * time.Microsecond}
}

// BootID is the start of the kernel's boot ID.
type BootID [8]byte

// ThisBoot returns the ID of the boot that runs; zeros if there is none.
func ThisBoot() BootID {
	id, _ := bootid.Read() // Without it, there are no times.
	return BootID(id[:8])
}

// Boot is a boot that wrote to a log.
type Boot struct {
	ID    BootID
	Start int64         // offset of its first byte
	Epoch time.Duration // wall clock minus time since the boot, since 1970
}

type header struct {
	inode uint64
	born  int64
	boots []Boot
}

// begun returns where the last boot begins.
func (h header) begun() int64 {
	if len(h.boots) == 0 {
		return 0
	}
	return h.boots[len(h.boots)-1].Start
}

func (h header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic)
	binary.LittleEndian.PutUint64(b[8:], h.inode)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.born))
	boots := h.boots[max(0, len(h.boots)-maxBoots):]
	binary.LittleEndian.PutUint32(b[24:], uint32(len(boots)))
	for i, boot := range boots {
		e := b[bootsAt+i*bootSize:]
		copy(e, boot.ID[:])
		binary.LittleEndian.PutUint64(e[8:], uint64(boot.Start))
		binary.LittleEndian.PutUint64(e[16:], uint64(boot.Epoch.Microseconds()))
	}
	return b
}

func decodeHeader(b []byte) (h header, err error) {
	if len(b) < headerSize || !bytes.Equal(b[:len(magic)], magic) {
		return h, ErrMismatch
	}
	h.inode = binary.LittleEndian.Uint64(b[8:])
	h.born = int64(binary.LittleEndian.Uint64(b[16:]))
	n := binary.LittleEndian.Uint32(b[24:])
	if n > maxBoots {
		return h, fmt.Errorf("%w: %d boots", ErrMismatch, n)
	}
	for i := range int(n) {
		e := b[bootsAt+i*bootSize:]
		boot := Boot{
			ID:    BootID(e[:8]),
			Start: int64(binary.LittleEndian.Uint64(e[8:])),
			Epoch: time.Duration(int64(binary.LittleEndian.Uint64(e[16:]))) * time.Microsecond,
		}
		if boot.Start < 0 || i > 0 && boot.Start < h.boots[i-1].Start {
			return h, fmt.Errorf("%w: boots are not in order", ErrMismatch)
		}
		h.boots = append(h.boots, boot)
	}
	return h, nil
}

// Identify returns the inode number of a log, its time of birth (ns since 1970; 0: not known) and
// its size. A rotation does not change the first two.
func Identify(log *os.File) (inode uint64, born, size int64, err error) {
	var st unix.Statx_t
	err = unix.Statx(int(log.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME|unix.STATX_SIZE, &st)
	if err != nil {
		return 0, 0, 0, os.NewSyscallError("statx", err)
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		born = st.Btime.Sec*int64(time.Second) + int64(st.Btime.Nsec)
	}
	return st.Ino, born, int64(st.Size), nil
}
