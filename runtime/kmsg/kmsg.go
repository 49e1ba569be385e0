// Package kmsg reads the kernel log: its records from /dev/kmsg, one at a time, and the format
// that these have. It writes nothing; package console does.
//
// Times are since the start of the kernel, by the clock of its log, which stands still while the
// machine is suspended.
//
// Source: Documentation/ABI/testing/dev-kmsg.
package kmsg

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Path is the device of the kernel log.
const Path = "/dev/kmsg"

// RecordLimit is the longest record, in bytes.
const RecordLimit = 8 << 10

// Record is a record of the kernel log.
type Record struct {
	Sequence uint64
	At       time.Duration // to the microsecond
	Facility int           // as in syslog(3), 0 to 23
	Text     []byte        // one line
}

// Exists reports whether path is the kernel log. In userspace mode it is a link to null.
func Exists(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 11)
}

// Log is the kernel log, open for reading.
type Log struct{ f *os.File }

// Open opens the kernel log at its first record.
func Open(path string) (Log, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return Log{}, fmt.Errorf("cannot open the kernel log: %w", err)
	}
	return Log{f}, nil
}

// Close closes the log. It ends a Wait with an error.
func (l Log) Close() error { return l.f.Close() }

// Rewind goes back to the first record that the kernel still has.
func (l Log) Rewind() error {
	_, err := l.f.Seek(0, unix.SEEK_SET)
	return err
}

// SetDeadline ends a Wait at a time.
func (l Log) SetDeadline(t time.Time) error { return l.f.SetReadDeadline(t) }

// ErrOverwritten is returned once when the kernel has overwritten records that were not read.
var ErrOverwritten = errors.New("records of the kernel log were overwritten")

// Read reads a record into b, which has RecordLimit bytes. It does not wait: 0 if there is no
// record. After ErrOverwritten, the next call continues with the first record that is there.
func (l Log) Read(b []byte) (n int, err error) {
	conn, err := l.f.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("cannot read the kernel log: %w", err)
	}
	cerr := conn.Control(func(fd uintptr) {
		for {
			n, err = unix.Read(int(fd), b)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, nil
	case errors.Is(err, unix.EPIPE):
		return 0, ErrOverwritten
	}
	if err = errors.Join(err, cerr); err != nil {
		return 0, fmt.Errorf("cannot read the kernel log: %w", err)
	}
	return n, nil
}

// Wait waits until there is a record.
func (l Log) Wait() error {
	conn, err := l.f.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err != nil && !errors.Is(err, unix.EINTR) || n > 0
	})
}

// Parse reads `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,…];TEXT\n`, which further lines with a
// leading space may follow. Bytes that are not printable ASCII are written \xHH there; Text is
// in the memory of b, which changes.
func Parse(b []byte) (r Record, ok bool) {
	head, text, ok := bytes.Cut(b, []byte(";"))
	if !ok {
		return r, false
	}
	fields := bytes.SplitN(head, []byte(","), 4)
	if len(fields) < 3 {
		return r, false
	}
	priority, err1 := strconv.ParseUint(string(fields[0]), 10, 16)
	sequence, err2 := strconv.ParseUint(string(fields[1]), 10, 64)
	micros, err3 := strconv.ParseUint(string(fields[2]), 10, 53)
	if err1 != nil || err2 != nil || err3 != nil {
		return r, false
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	return Record{sequence, time.Duration(micros) * time.Microsecond, int(priority >> 3), unescape(text)}, true
}

// unescape replaces \xHH, in place.
func unescape(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if i+3 < len(b) && b[i] == '\\' && b[i+1] == 'x' {
			if v, err := strconv.ParseUint(string(b[i+2:i+4]), 16, 8); err == nil {
				out = append(out, byte(v))
				i += 3
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}
