package staging

import (
	"bufio"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"keelson/runtime/artifact"
)

// source is an archive that is not compressed. What is read of it while to is set goes to that
// file as well: what is left in the pipe by splice(2), or in the file by sendfile(2), which spares
// two copies, and then Read returns only how much that was.
type source struct {
	*bufio.Reader
	from *os.File // from which Reader reads: a pipe or a regular file; nil: from something else
	to   *os.File
	skip int64 // the size of the file while it is passed over, else 0
}

func (s *source) Close() error { return nil }

func (s *source) Read(p []byte) (int, error) {
	if s.skip > 0 {
		return s.pass(len(p))
	}
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

// place passes over a part of the archive, of which content is the reader, without reading it, and
// returns where it is in the file. ok is false if the archive does not come from a regular file.
func (s *source) place(content io.Reader) (p artifact.Place, ok bool, err error) {
	info, err := s.from.Stat()
	if s.from == nil || err != nil || !info.Mode().IsRegular() {
		return p, false, nil
	}
	if p.Offset, err = s.position(); err != nil {
		return p, false, err
	}
	s.skip = info.Size()
	defer func() { s.skip = 0 }()
	if _, err = io.CopyBuffer(onlyWriter{io.Discard}, content, make([]byte, copyBuffer)); err != nil {
		return p, false, err
	}
	end, err := s.position()
	p.Size = end - p.Offset
	return p, true, err
}

// position returns how much of the file has been read.
func (s *source) position() (int64, error) {
	at, err := s.from.Seek(0, io.SeekCurrent)
	return at - int64(s.Buffered()), err
}

// pass passes over at most n bytes.
func (s *source) pass(n int) (int, error) {
	if buffered := s.Buffered(); buffered > 0 {
		return s.Discard(min(n, buffered))
	}
	at, err := s.from.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	left := min(int64(n), s.skip-at)
	if left <= 0 {
		return 0, io.EOF
	}
	_, err = s.from.Seek(left, io.SeekCurrent)
	return int(left), err
}

// copyBuffer is the size of the buffer for the content of a blob, and of a transfer: that of a
// large pipe.
const copyBuffer = 1 << 20

// onlyWriter hides other methods, such as ReadFrom of a file, which has a small buffer.
type onlyWriter struct{ io.Writer }
