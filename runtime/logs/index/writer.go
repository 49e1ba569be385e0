package index

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/readfile"
	"keelson/runtime/timeline"
)

// Interval is the least time between two records.
const Interval = 10 * time.Millisecond

// retry is the least time between two attempts to open an index that cannot be written.
const retry = time.Second

// drift is how far the wall clock may move before the header is written again.
const drift = 100 * time.Millisecond

// Writer appends to the index of a log. The log has one writer, which owns it. Methods do
// not fail: without an index, the log has no times.
type Writer struct {
	path   string // of the log
	f      *os.File
	header header
	n      int
	last   Record
	next   time.Time     // of the next record
	begun  time.Duration // when the log was rotated, if it has no record since; 0: unknown
}

// NewWriter returns a writer for the index of the log at path.
func NewWriter(path string) Writer { return Writer{path: path} }

// Due reports whether Mark has something to do, when bytes are about to be written at an
// offset.
func (w *Writer) Due(offset int64, now time.Time) bool {
	return offset < w.last.Offset || !now.Before(w.next)
}

// Mark records that the bytes from offset on are written now, to the open log.
func (w *Writer) Mark(log *os.File, offset int64, now time.Time) {
	w.next = now.Add(Interval)
	at := timeline.Now()
	if at <= 0 || ThisBoot() == (BootID{}) {
		return
	}
	if err := w.mark(log, Record{Offset: offset, At: at}, time.Duration(now.UnixNano())-at); err != nil {
		w.Close()
		w.next = now.Add(retry)
	}
}

func (w *Writer) mark(log *os.File, r Record, epoch time.Duration) error {
	if err := w.open(log, r.Offset); err != nil {
		return err
	}
	first := r
	if w.n == 0 && w.begun > 0 { // No record was due since the rotation.
		first = Record{Offset: 0, At: w.begun}
	}
	if err := w.mention(Boot{ID: ThisBoot(), Start: first.Offset, Epoch: epoch}); err != nil {
		return err
	}
	w.begun = 0
	if first.Offset < r.Offset {
		if err := w.put(first); err != nil {
			return err
		}
	}
	return w.put(r)
}

// put writes a record, in place of the last one if nothing was written then.
func (w *Writer) put(r Record) error {
	n := w.n
	if n > 0 && w.last.Offset == r.Offset {
		n--
	}
	if _, err := w.f.WriteAt(r.encode(), headerSize+int64(n)*recordSize); err != nil {
		return errors.Join(err, w.f.Truncate(w.Size()))
	}
	w.n, w.last = n+1, r
	return nil
}

// mention writes the boot that runs to the header, and how its clocks differ.
func (w *Writer) mention(b Boot) error {
	boots := w.header.boots
	switch i := len(boots) - 1; {
	case i < 0 || boots[i].ID != b.ID:
		boots = append(boots, b)
		w.header.boots = boots[max(0, len(boots)-maxBoots):]
	case (boots[i].Epoch - b.Epoch).Abs() > drift:
		boots[i].Epoch = b.Epoch
	default:
		return nil
	}
	_, err := w.f.WriteAt(w.header.encode(), 0)
	return err
}

// open opens the index, or creates it when it is missing or wrong.
func (w *Writer) open(log *os.File, offset int64) error {
	if w.f != nil {
		var st unix.Stat_t
		err := unix.Fstat(int(w.f.Fd()), &st)
		if err == nil && st.Nlink > 0 && st.Size == w.Size() && offset >= w.last.Offset {
			return nil
		}
		w.Close()
	}
	inode, born, _, err := Identify(log)
	if err != nil {
		return err
	}
	w.header = header{inode: inode, born: born}
	if w.resume(offset) {
		return nil
	}
	return w.create()
}

// resume continues an index. It reports false if there is none that fits the log, of which
// only offset bytes are left.
func (w *Writer) resume(offset int64) bool {
	f, info, err := readfile.Open(Path(w.path), os.O_RDWR)
	if err != nil {
		return false
	}
	if !w.recall(f, info.Size()) || w.last.Offset > offset || w.header.begun() > offset {
		_ = f.Close()
		w.n, w.last = 0, Record{}
		return false
	}
	w.f = f
	return true
}

func (w *Writer) recall(f *os.File, size int64) bool {
	b := make([]byte, headerSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return false
	}
	h, err := decodeHeader(b)
	if err != nil || h.inode != w.header.inode || h.born != w.header.born {
		return false
	}
	x := Index{f: f, n: int((size - headerSize) / recordSize)}
	n, err := trim(x.n, x.Record)
	if err != nil || f.Truncate(headerSize+int64(n)*recordSize) != nil {
		return false
	}
	w.header, w.n, w.last = h, n, Record{}
	if n > 0 {
		w.last, err = x.Record(n - 1)
	}
	return err == nil
}

func (w *Writer) create() error {
	path := Path(w.path)
	w.n, w.last, w.header.boots = 0, Record{}, nil
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	w.f = f
	_, err = f.WriteAt(w.header.encode(), 0)
	return err
}

// Size returns the size of the index; 0 if it is not open.
func (w *Writer) Size() int64 {
	if w.f == nil {
		return 0
	}
	return headerSize + int64(w.n)*recordSize
}

// Rotate renames the index, as the log was renamed to old. The next record is due when it
// would have been: a log that is rotated all the time does not get an index each time.
func (w *Writer) Rotate(old string) {
	next := w.next
	w.Close()
	w.next, w.begun = next, timeline.Now()
	if os.Rename(Path(w.path), Path(old)) != nil {
		_ = os.Remove(Path(old))
	}
}

// CopyTo makes the index of another log, which has the bytes of this one from an offset on.
func (w *Writer) CopyTo(path string, log *os.File, from int64) {
	to := NewWriter(path)
	defer to.Close()
	if w.f == nil || to.open(log, 0) != nil {
		Remove(path)
		return
	}
	for _, b := range w.header.boots {
		b.Start = max(0, b.Start-from)
		to.header.boots = append(to.header.boots, b)
	}
	if to.copy(&Index{f: w.f, n: w.n}, from) != nil {
		Remove(path)
	}
}

// copy appends the records of x from an offset on.
func (w *Writer) copy(x *Index, from int64) error {
	if _, err := w.f.WriteAt(w.header.encode(), 0); err != nil {
		return err
	}
	for i := max(0, x.Find(from)); i < x.n; i += blockRecords {
		if err := x.Load(i); err != nil {
			return err
		}
		var b []byte
		for j := i; j < min(i+blockRecords, x.n); j++ {
			r, err := x.Record(j)
			if err != nil {
				return err
			}
			r.Offset = max(0, r.Offset-from)
			b = append(b, r.encode()...)
		}
		if _, err := w.f.WriteAt(b, w.Size()); err != nil {
			return err
		}
		w.n += len(b) / recordSize
	}
	return nil
}

// Copy makes the index of a copy of a log that nobody writes any more. Without an index that fits
// the log, it makes none.
func Copy(from string, log *os.File, to string, copied *os.File) {
	inode, born, size, err := Identify(log)
	w := NewWriter(from)
	defer w.Close()
	if w.header = (header{inode: inode, born: born}); err == nil && w.resume(size) {
		w.CopyTo(to, copied, 0)
	}
}

// Close closes the index. The next Mark opens it again.
func (w *Writer) Close() {
	if w.f != nil {
		_ = w.f.Close()
		w.f = nil
	}
	w.n, w.last, w.next, w.begun = 0, Record{}, time.Time{}, 0
}

// Remove removes the index of the log at path.
func Remove(path string) { _ = os.Remove(Path(path)) }
