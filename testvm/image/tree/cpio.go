package tree

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

const (
	newcMagic   = "070701"
	newcTrailer = "TRAILER!!!"
)

var modeBits = map[Type]uint32{
	File: unix.S_IFREG, Dir: unix.S_IFDIR, Symlink: unix.S_IFLNK,
	Char: unix.S_IFCHR, Block: unix.S_IFBLK, FIFO: unix.S_IFIFO,
}

// WriteCPIO writes entries as a newc archive, in their order, all with one modification
// time. Files for which share returns true become hard links of one file if content, mode
// and owner are equal: in an initramfs they take memory once. share may be nil.
//
// The writer is our own because the library (cavaliergopher/cpio) cannot write device
// numbers.
func WriteCPIO(w io.Writer, entries []Entry, mtime time.Time, share func(Entry) bool) error {
	cw := &cpioWriter{w: bufio.NewWriterSize(w, 1<<20), mtime: uint32(mtime.Unix())}
	groups := hardLinks(entries, share)
	for i, e := range entries {
		if len(e.Data) > math.MaxUint32 {
			return fmt.Errorf("cannot write %s: %d bytes are too large for a cpio archive", e.Path, len(e.Data))
		}
		cw.entry(e, groups[i])
	}
	cw.header(cpioHeader{name: newcTrailer, nlink: 1})
	if cw.err == nil {
		cw.err = cw.w.Flush()
	}
	if cw.err != nil {
		return fmt.Errorf("cannot write cpio archive: %w", cw.err)
	}
	return nil
}

// linkGroup is a set of hard links of one file. The kernel reads the data from the first
// and ignores the rest, which are empty (init/initramfs.c, maybe_link).
type linkGroup struct {
	ino, nlink uint32
	written    bool
}

type fileKey struct {
	sum      [sha256.Size]byte
	mode     uint32
	uid, gid int
}

func hardLinks(entries []Entry, share func(Entry) bool) map[int]*linkGroup {
	groups := map[int]*linkGroup{}
	if share == nil {
		return groups
	}
	byKey := map[fileKey]*linkGroup{}
	for i, e := range entries {
		if e.Type != File || len(e.Data) == 0 || !share(e) {
			continue
		}
		k := fileKey{sha256.Sum256(e.Data), e.Mode, e.UID, e.GID}
		if byKey[k] == nil {
			byKey[k] = &linkGroup{}
		}
		byKey[k].nlink++
		groups[i] = byKey[k]
	}
	return groups
}

type cpioHeader struct {
	name                   string
	ino, mode, nlink, size uint32
	uid, gid               int
	major, minor           uint32
}

type cpioWriter struct {
	w     *bufio.Writer
	n     int64
	ino   uint32
	mtime uint32
	err   error
}

func (c *cpioWriter) entry(e Entry, group *linkGroup) {
	data := e.Data
	if e.Type == Symlink {
		data = []byte(e.Link)
	}
	h := cpioHeader{
		name: e.Path, mode: modeBits[e.Type] | e.Mode, nlink: 1,
		uid: e.UID, gid: e.GID, major: e.Major, minor: e.Minor,
	}
	switch {
	case group == nil:
		c.ino++
		h.ino = c.ino
	case group.written:
		data = nil
		h.ino, h.nlink = group.ino, group.nlink
	default:
		c.ino++
		group.ino, group.written = c.ino, true
		h.ino, h.nlink = group.ino, group.nlink
	}
	h.size = uint32(len(data))
	c.header(h)
	c.write(data)
	c.pad()
}

func (c *cpioWriter) header(h cpioHeader) {
	mtime := c.mtime
	if h.name == newcTrailer {
		mtime = 0
	}
	// Fields: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor
	// rdevminor namesize check.
	c.write(fmt.Appendf(nil, "%s%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", newcMagic,
		h.ino, h.mode, uint32(h.uid), uint32(h.gid), h.nlink, mtime, h.size, 0, 0, h.major, h.minor, len(h.name)+1, 0, h.name))
	c.pad()
}

func (c *cpioWriter) write(b []byte) {
	if c.err != nil {
		return
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.err = err
}

// pad writes zeros up to a multiple of four bytes.
func (c *cpioWriter) pad() {
	c.write(make([]byte, -c.n&3))
}
