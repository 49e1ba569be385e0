package staging

import (
	"bufio"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// source is an archive that is not compressed. What is read of it while to is set goes to that
// file as well: what is left in the pipe by splice(2), or in the file by sendfile(2), which spares
// two copies, and then Read returns only how much that was.
type source struct {
	*bufio.Reader
	from *os.File // from which Reader reads: a pipe or a regular file; nil: from something else
	to   *os.File
}

func (s *source) Close() error { return nil }

func (s *source) Read(p []byte) (int, error) {
	if s.to == nil {
		return s.Reader.Read(p)
	}
	if s.from != nil && s.Buffered() == 0 && len(p) > 0 {
		n, err := move(s.from, s.to, len(p))
		if !errors.Is(err, unix.EINVAL) { // It is neither, or the file system of the file cannot.
			return n, err
		}
		s.from = nil
	}
	n, err := s.Reader.Read(p)
	if _, err := s.to.Write(p[:n]); err != nil {
		return n, err
	}
	return n, err
}

// move moves at most n bytes from a pipe to a file, or copies them from a file. It returns io.EOF
// at the end.
func move(from, to *os.File, n int) (int, error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return 0, err
	}
	var moved int
	var callErr error
	err = raw.Read(func(fd uintptr) (done bool) {
		moved, callErr = transfer(int(fd), int(to.Fd()), n)
		for errors.Is(callErr, unix.EINTR) {
			moved, callErr = transfer(int(fd), int(to.Fd()), n)
		}
		return !errors.Is(callErr, unix.EAGAIN)
	})
	if err = errors.Join(err, callErr); err != nil {
		return 0, err
	}
	if moved == 0 {
		return 0, io.EOF
	}
	return moved, nil
}

// transfer is splice(2) from a pipe, and sendfile(2) from a file.
func transfer(from, to, n int) (int, error) {
	moved, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_MOVE)
	if !errors.Is(err, unix.EINVAL) {
		return int(moved), os.NewSyscallError("splice", err)
	}
	sent, err := unix.Sendfile(to, from, nil, n)
	return sent, os.NewSyscallError("sendfile", err)
}

// copyTo copies a part of the archive, of which content is the reader, to a file.
func (s *source) copyTo(to *os.File, content io.Reader) (int64, error) {
	s.to = to
	defer func() { s.to = nil }()
	return io.CopyBuffer(onlyWriter{io.Discard}, content, make([]byte, copyBuffer))
}

// copyBuffer is the size of the buffer for the content of a blob, and of a transfer: that of a
// large pipe.
const copyBuffer = 1 << 20

// onlyWriter hides other methods, such as ReadFrom of a file, which has a small buffer.
type onlyWriter struct{ io.Writer }
