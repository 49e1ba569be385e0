package index

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"golang.org/x/sys/unix"

	"keelson/runtime/readfile"
)

// Index is an open index. One goroutine uses it.
type Index struct {
	Boots []Boot // in the order of the log; those that are too many are missing

	f     *os.File
	n     int // records
	block []byte
	first int // record at the start of the block
}

// blockRecords is how many records are read in one call.
const blockRecords = 4096 / recordSize

// Open opens the file at path as the index of log. The error is ErrMismatch when it is the
// index of another file.
func Open(path string, log *os.File) (*Index, error) {
	f, _, err := readfile.Open(path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("cannot open index: %w", err)
	}
	x := &Index{f: f}
	if err := x.load(log); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot read index %s: %w", path, err), f.Close())
	}
	return x, nil
}

// load reads the header and finds the last record. The size of the log is read after that
// of the index: a record is older than its bytes and is there before them.
func (x *Index) load(log *os.File) error {
	b := make([]byte, headerSize)
	if _, err := x.f.ReadAt(b, 0); err != nil {
		return err
	}
	h, err := decodeHeader(b)
	if err != nil {
		return err
	}
	x.Boots = h.boots
	if err := x.Refresh(); err != nil {
		return err
	}
	inode, born, size, err := Identify(log)
	if err != nil {
		return err
	}
	if inode != h.inode || born != h.born {
		return ErrMismatch
	}
	// One record may be there before its bytes.
	if n := x.n; n > 0 {
		last, err := x.Record(n - 1)
		if err != nil {
			return err
		}
		if last.Offset > size {
			return fmt.Errorf("%w: it has an offset beyond the end", ErrMismatch)
		}
	}
	return nil
}

// Close closes the file.
func (x *Index) Close() error { return x.f.Close() }

// Len returns the number of records that Refresh has found.
func (x *Index) Len() int { return x.n }

// Refresh finds records that were appended, and the current boots.
func (x *Index) Refresh() error {
	info, err := x.f.Stat()
	if err != nil {
		return err
	}
	n := int(max(0, info.Size()-headerSize) / recordSize)
	if n == x.n {
		return nil
	}
	b := make([]byte, headerSize)
	if _, err := x.f.ReadAt(b, 0); err != nil {
		return err
	}
	h, err := decodeHeader(b)
	if err != nil {
		return err
	}
	x.n, x.Boots = n, h.boots
	x.n, err = trim(x.n, x.Record)
	return err
}

// Replaced reports whether the file was removed: the log has another index, or none.
func (x *Index) Replaced() bool {
	var st unix.Stat_t
	return unix.Fstat(int(x.f.Fd()), &st) != nil || st.Nlink == 0
}

// trim returns the number of records without those at the end that have no time. More of
// these than fit into a block are no work of a power cut.
func trim(n int, record func(int) (Record, error)) (int, error) {
	for range blockRecords {
		if n == 0 {
			return 0, nil
		}
		r, err := record(n - 1)
		if err != nil || r.At > 0 {
			return n, err
		}
		n--
	}
	return 0, fmt.Errorf("%w: it has records without a time", ErrMismatch)
}

// Record returns record i.
func (x *Index) Record(i int) (Record, error) {
	if i < 0 || i >= x.n {
		return Record{}, fmt.Errorf("index has no record %d: %w", i, io.EOF)
	}
	if at := (i - x.first) * recordSize; i >= x.first && at+recordSize <= len(x.block) {
		return decode(x.block[at:]), nil
	}
	b := make([]byte, recordSize)
	if _, err := x.f.ReadAt(b, headerSize+int64(i)*recordSize); err != nil {
		return Record{}, err
	}
	return decode(b), nil
}

// Load makes Record return record i, and those that follow it, from memory.
func (x *Index) Load(i int) error {
	if i >= x.first && i < x.first+len(x.block)/recordSize {
		return nil
	}
	if x.block == nil {
		x.block = make([]byte, 0, blockRecords*recordSize)
	}
	n, err := x.f.ReadAt(x.block[:max(0, min(blockRecords, x.n-i))*recordSize], headerSize+int64(i)*recordSize)
	x.block, x.first = x.block[:n-n%recordSize], i
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Find returns the last record whose offset is not beyond offset; -1 if there is none.
func (x *Index) Find(offset int64) int {
	return sort.Search(x.n, func(i int) bool {
		r, err := x.Record(i)
		return err != nil || r.Offset > offset
	}) - 1
}

// Boot returns the number, in Boots, of the boot that wrote the byte at offset; -1 if it is
// not known.
func (x *Index) Boot(offset int64) int {
	return sort.Search(len(x.Boots), func(i int) bool { return x.Boots[i].Start > offset }) - 1
}
