package staging

import (
	"bufio"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// source is an archive that is not compressed. What is read of it while to is set goes to that
// file as well: what is left in the pipe by splice(2), which spares two copies, and then Read
// returns only how much that was.
type source struct {
	*bufio.Reader
	pipe *os.File // from which Reader reads; nil: from something else
	to   *os.File
}

func (s *source) Close() error { return nil }

func (s *source) Read(p []byte) (int, error) {
	if s.to == nil {
		return s.Reader.Read(p)
	}
	if s.pipe != nil && s.Buffered() == 0 && len(p) > 0 {
		n, err := splice(s.pipe, s.to, len(p))
		if !errors.Is(err, unix.EINVAL) { // It is no pipe, or the file system of the file cannot.
			return n, err
		}
		s.pipe = nil
	}
	n, err := s.Reader.Read(p)
	if _, err := s.to.Write(p[:n]); err != nil {
		return n, err
	}
	return n, err
}

// splice moves at most n bytes from a pipe to a file. It returns io.EOF at the end of the pipe.
func splice(pipe, to *os.File, n int) (int, error) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	var moved int64
	var spliceErr error
	err = raw.Read(func(from uintptr) (done bool) {
		moved, spliceErr = unix.Splice(int(from), nil, int(to.Fd()), nil, n, unix.SPLICE_F_MOVE)
		for errors.Is(spliceErr, unix.EINTR) {
			moved, spliceErr = unix.Splice(int(from), nil, int(to.Fd()), nil, n, unix.SPLICE_F_MOVE)
		}
		return !errors.Is(spliceErr, unix.EAGAIN)
	})
	if err = errors.Join(err, os.NewSyscallError("splice", spliceErr)); err != nil {
		return 0, err
	}
	if moved == 0 {
		return 0, io.EOF
	}
	return int(moved), nil
}

// copyTo copies a part of the archive, of which content is the reader, to a file.
func (s *source) copyTo(to *os.File, content io.Reader) (int64, error) {
	s.to = to
	defer func() { s.to = nil }()
	return io.CopyBuffer(onlyWriter{io.Discard}, content, make([]byte, copyBuffer))
}

// copyBuffer is the size of the buffer for the content of a blob: that of a large pipe.
const copyBuffer = 1 << 20

// onlyWriter hides other methods, such as ReadFrom of a file, which has a small buffer.
type onlyWriter struct{ io.Writer }
