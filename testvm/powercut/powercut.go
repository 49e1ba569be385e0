package powercut

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Unit is the number of bytes that a disk writes atomically: a physical sector of current
// disks. It is the physical block size that the guest sees (qemu.Disk.Log).
const Unit = 4096

// Summary counts the requests of a log.
type Summary struct {
	Writes  int // all writes
	Flushes int
	Kept    int // units that were not flushed and were written
	Lost    int // units that were not flushed and are lost
}

// write is one write request of a guest.
type write struct {
	offset int64
	data   []byte
	safe   bool // forced to the medium (FUA)
}

// Replay writes to disk what a disk has that received all requests of log before its power
// was cut. lose decides whether a Unit that was not flushed is lost.
func Replay(disk io.WriterAt, log io.Reader, lose func() bool) (Summary, error) {
	r, err := newReader(log)
	if err != nil {
		return Summary{}, err
	}
	var s Summary
	var pending []write
	for {
		e, err := r.next()
		if errors.Is(err, io.EOF) {
			return s, s.cut(disk, pending, lose)
		}
		if err != nil {
			return s, err
		}
		if len(e.data) > 0 {
			s.Writes++
			pending = append(pending, e.write)
		}
		if !e.flush {
			continue
		}
		s.Flushes++
		for _, w := range pending {
			if _, err := disk.WriteAt(w.data, w.offset); err != nil {
				return s, fmt.Errorf("cannot replay a write: %w", err)
			}
		}
		pending = nil
	}
}

// cut writes the units that were not flushed and are not lost.
func (s *Summary) cut(disk io.WriterAt, pending []write, lose func() bool) error {
	for _, w := range pending {
		for at := 0; at < len(w.data); {
			offset := w.offset + int64(at)
			end := min(at+Unit-int(offset%Unit), len(w.data))
			if !w.safe && lose() {
				s.Lost++
			} else if _, err := disk.WriteAt(w.data[at:end], offset); err != nil {
				return fmt.Errorf("cannot replay a write: %w", err)
			} else {
				s.Kept++
			}
			at = end
		}
	}
	return nil
}

// The format of the log: a super block, then entries of one sector, each followed by its
// data. Numbers are little-endian.
const (
	magic      = 0x6a736677736872
	version    = 1
	sectorSize = 512 // unless the super block gives another
	flagFlush  = 1 << 0
	flagFUA    = 1 << 1
	// Entries with flagDiscard have no data and are ignored.
	flagDiscard = 1 << 2
	flagsKnown  = 1<<5 - 1
	// mostData is the maximum size of an entry. QEMU's requests are smaller.
	mostData = 64 << 20
)

type entry struct {
	write
	flush bool
}

type reader struct {
	in     *bufio.Reader
	sector []byte
}

func newReader(log io.Reader) (*reader, error) {
	in := bufio.NewReaderSize(log, 1<<20)
	head := make([]byte, 28)
	switch _, err := io.ReadFull(in, head); {
	case errors.Is(err, io.EOF) || err == nil && bytes.Equal(head, make([]byte, len(head))):
		// QEMU writes the super block at the first flush.
		binary.LittleEndian.PutUint64(head, magic)
		binary.LittleEndian.PutUint64(head[8:], version)
		binary.LittleEndian.PutUint32(head[24:], sectorSize)
	case err != nil:
		return nil, fmt.Errorf("cannot read the log of writes: no super block: %w", err)
	}
	size := binary.LittleEndian.Uint32(head[24:])
	if m, v := binary.LittleEndian.Uint64(head), binary.LittleEndian.Uint64(head[8:]); m != magic || v != version || size < 512 || size > 4096 || size&(size-1) != 0 {
		return nil, fmt.Errorf("cannot read the log of writes: magic %#x, version %d, sectors of %d bytes", m, v, size)
	}
	if _, err := in.Discard(int(size) - len(head)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot read the log of writes: %w", err)
	}
	return &reader{in: in, sector: make([]byte, size)}, nil
}

// next returns the next entry, or io.EOF. It skips sectors of zeros: QEMU reserves the space
// of an entry and may be killed before it writes there; its request was not completed.
func (r *reader) next() (entry, error) {
	for {
		if _, err := io.ReadFull(r.in, r.sector); err != nil {
			return entry{}, io.EOF // An incomplete last sector was not finished.
		}
		if !bytes.Equal(r.sector, make([]byte, len(r.sector))) {
			return r.entry()
		}
	}
}

func (r *reader) entry() (entry, error) {
	sector, count := binary.LittleEndian.Uint64(r.sector), binary.LittleEndian.Uint64(r.sector[8:])
	flags := binary.LittleEndian.Uint64(r.sector[16:])
	size := uint64(len(r.sector))
	if flags&^flagsKnown != 0 || sector >= 1<<53 || flags&flagDiscard == 0 && count > mostData/size {
		return entry{}, fmt.Errorf("cannot read the log of writes: %d sectors at %d with flags %#x", count, sector, flags)
	}
	e := entry{flush: flags&flagFlush != 0}
	if flags&flagDiscard != 0 || count == 0 {
		return e, nil
	}
	e.write = write{offset: int64(sector * size), data: make([]byte, count*size), safe: flags&flagFUA != 0}
	if _, err := io.ReadFull(r.in, e.data); err != nil {
		return entry{}, io.EOF
	}
	return e, nil
}
