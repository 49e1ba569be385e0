package boots

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/kmsg"
	"keelson/runtime/readfile"
	"keelson/runtime/timeline"
)

const (
	bufferLimit = 16 << 10 // what is collected before it is written
	// drift is how far the wall clock may move before it is recorded again.
	drift = 100 * time.Millisecond
	// epochMark begins a line with the difference of the clocks, in µs.
	epochMark = '='
)

// old returns the path of the rotated file.
func old(path string) string { return path + ".1" }

// kernelWriter appends records of the kernel log to a file, and rotates it.
type kernelWriter struct {
	path   string
	limit  int64 // of one file
	f      *os.File
	size   int64
	buffer []byte
	last   uint64 // the last record that is stored
	any    bool   // there is one
	epoch  time.Duration
}

// newKernelWriter returns a writer that continues after the last record that is stored.
func newKernelWriter(path string, limit int64) *kernelWriter {
	w := &kernelWriter{path: path, limit: limit}
	for _, p := range []string{path, old(path)} {
		if w.last, w.any = lastRecord(p); w.any {
			break
		}
	}
	return w
}

// lastRecord returns the number of the last record in a file. Its last line may be torn.
func lastRecord(path string) (last uint64, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	b := make([]byte, min(info.Size(), 2*kmsg.RecordLimit))
	if _, err := f.ReadAt(b, info.Size()-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		return 0, false
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	for line := range bytes.Lines(b) {
		if r, valid := kmsg.Parse(line); valid && (!ok || r.Sequence > last) {
			last, ok = r.Sequence, true
		}
	}
	return last, ok
}

// add adds a record as /dev/kmsg has it: its first line.
func (w *kernelWriter) add(record []byte) {
	line, _, _ := bytes.Cut(record, []byte("\n"))
	r, ok := kmsg.Parse(line)
	if !ok || w.any && r.Sequence <= w.last {
		return
	}
	w.last, w.any = r.Sequence, true
	now := time.Duration(time.Now().UnixNano()) - timeline.Now()
	if (now - w.epoch).Abs() > drift {
		w.epoch = now
		w.buffer = fmt.Appendf(w.buffer, "%c%d\n", epochMark, now.Microseconds())
	}
	w.buffer = append(append(w.buffer, line...), '\n')
	if len(w.buffer) >= bufferLimit {
		_ = w.flush() // An error is returned by the next one.
	}
}

// flush writes what was added. What cannot be written is dropped: the next record may have room.
func (w *kernelWriter) flush() error {
	if len(w.buffer) == 0 {
		return nil
	}
	err := w.write()
	w.buffer = w.buffer[:0]
	if err != nil {
		w.close()
		return fmt.Errorf("cannot keep the kernel log: %w", err)
	}
	return nil
}

func (w *kernelWriter) write() error {
	if err := w.open(); err != nil {
		return err
	}
	if w.size > 0 && w.size+int64(len(w.buffer)) > w.limit {
		w.close()
		if err := os.Rename(w.path, old(w.path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// The new file is read without the old one some day.
		w.buffer = append(fmt.Appendf(nil, "%c%d\n", epochMark, w.epoch.Microseconds()), w.buffer...)
		if err := w.open(); err != nil {
			return err
		}
	}
	n, err := w.f.WriteAt(w.buffer, w.size)
	if err != nil {
		return errors.Join(err, w.f.Truncate(w.size))
	}
	w.size += int64(n)
	return nil
}

// open opens the file. A torn line at its end is removed.
func (w *kernelWriter) open() error {
	if w.f != nil {
		return nil
	}
	f, err := os.OpenFile(w.path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.size = f, info.Size()
	b := make([]byte, min(w.size, kmsg.RecordLimit))
	if n, _ := f.ReadAt(b, w.size-int64(len(b))); n == len(b) && n > 0 { // Else it stays.
		w.size -= int64(n - 1 - bytes.LastIndexByte(b, '\n'))
		return f.Truncate(w.size)
	}
	return nil
}

// sync writes the file to the disk.
func (w *kernelWriter) sync() error {
	if w.f == nil {
		return nil
	}
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("cannot keep the kernel log: %w", err)
	}
	return nil
}

func (w *kernelWriter) close() {
	if w.f != nil {
		_ = w.f.Close() // All of it is written.
		w.f = nil
	}
}

// KernelLog returns the file with the kernel log of a boot. It may be missing; what was rotated has
// the number 1.
func (b Boot) KernelLog() string { return filepath.Join(b.Dir, kernelFile) }

// HasKernelLog reports whether something is kept of the kernel log.
func (b Boot) HasKernelLog() bool { return exists(b.KernelLog()) || len(storedDumps(b)) > 0 }

// Seen returns when the boot was last seen to run, by the clock as it was set then; zero if that is
// not known.
func (b Boot) Seen() time.Time {
	if b.End != nil && !b.End.Time.IsZero() {
		return b.End.Time
	}
	if info, err := os.Stat(b.KernelLog()); err == nil {
		return info.ModTime()
	}
	if b.Begin != nil {
		return b.Begin.Time
	}
	return time.Time{}
}

// parseEpoch reads a line of a kernel log that is kept with the difference of the clocks.
func parseEpoch(line []byte) (epoch time.Duration, ok bool) {
	if len(line) == 0 || line[0] != epochMark {
		return 0, false
	}
	n, err := strconv.ParseInt(string(line[1:]), 10, 53)
	return time.Duration(n) * time.Microsecond, err == nil
}

// Epoch returns the wall clock minus the time since the boot that was known last. Of a boot of
// which only last words are known, it is such that they begin in 1970.
func (b Boot) Epoch() (epoch time.Duration) {
	if b.Begin != nil {
		epoch = b.Begin.Epoch
	}
	for _, path := range []string{old(b.KernelLog()), b.KernelLog()} {
		text, err := readfile.NoFollow(path, recordLimit)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(text) {
			if e, ok := parseEpoch(bytes.TrimSuffix(line, []byte("\n"))); ok {
				epoch = e
			}
		}
	}
	return epoch
}
