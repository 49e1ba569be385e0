package logs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is the most that is moved in one call: the capacity of a pipe.
const chunk = 64 << 10

// reportInterval is the least time between two messages about a log that cannot be
// written.
const reportInterval = time.Minute

// Options of a stream.
type Options struct {
	Path   string       // of the log
	Limit  int64        // for the log, the rotated one and their indexes
	Ledger string       // file that stores for the next process what is missing in the log; may be empty
	Count  *Count       // counts the output; may be nil
	Mirror func([]byte) // is called with the output, and must not keep it; may be nil
	Logger *slog.Logger // for errors of the log; may be nil
}

// Count counts output, in bytes. Several streams may share one.
type Count struct {
	Written atomic.Int64 // moved to a log
	Lost    atomic.Int64 // dropped, since the log could not be written
}

// Stream copies a pipe to a file until it is finished.
type Stream struct {
	options Options
	target  target
	peeker  *peeker
	source  *os.File
	done    chan struct{}

	ledger   ledger
	lost     int64 // bytes dropped since the last note
	reason   string
	reported time.Time // when lost output was last logged
}

// Copy starts to copy source, a pipe or a FIFO, which belongs to the stream from now on.
func (l *Copier) Copy(source *os.File, options Options) *Stream {
	if options.Count == nil {
		options.Count = &Count{}
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Stream{
		options: options, target: newTarget(options.Path, max(options.Limit, MinLimit)/2),
		peeker: &l.peeker, source: source, done: make(chan struct{}), ledger: ledger{options.Ledger},
	}
	s.lost, s.reason = s.ledger.read()
	go func() {
		defer close(s.done)
		s.run()
	}()
	return s
}

// Finish copies the rest of the pipe's content, and ends the stream. It waits until no
// process has the write end open, at most for grace.
func (s *Stream) Finish(grace time.Duration) {
	if writable(s.source) {
		_ = s.source.SetReadDeadline(time.Unix(1, 0))
		<-s.done
		s.dropWriteEnd()
		_ = s.source.SetReadDeadline(time.Now().Add(grace))
		s.run()
	} else {
		_ = s.source.SetReadDeadline(time.Now().Add(grace))
		<-s.done
	}
	s.target.close()
	_ = s.source.Close()
}

func writable(f *os.File) bool {
	flags, err := fcntl(f, unix.F_GETFL)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDWR
}

// dropWriteEnd opens the source for reading only, so that reads see its end. It does so by
// the descriptor, since the path may be another FIFO's by now.
func (s *Stream) dropWriteEnd() {
	fd, err := fcntl(s.source, unix.F_DUPFD_CLOEXEC)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	r, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return // The deadline ends the stream.
	}
	_ = s.source.Close()
	s.source = r
}

func fcntl(f *os.File, command int) (value int, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := conn.Control(func(fd uintptr) { value, err = unix.FcntlInt(fd, command, 0) }); cerr != nil {
		return 0, cerr
	}
	return value, err
}

// run copies until the end of the pipe or the deadline. The poller reports only new
// content (it is edge-triggered), so the pipe is emptied before each wait.
func (s *Stream) run() {
	conn, err := s.source.SyscallConn()
	if err == nil {
		err = conn.Read(func(fd uintptr) bool {
			for {
				switch err := s.move(int(fd)); {
				case errors.Is(err, unix.EAGAIN):
					return false
				case err != nil: // io.EOF
					return true
				}
			}
		})
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.options.Logger.Error("cannot read output any more", "log", s.options.Path, "error", err)
	}
}

// move copies a part of the pipe's content to the file. It returns EAGAIN when the pipe is
// empty, io.EOF at its end.
func (s *Stream) move(fd int) error {
	n, err := s.write(fd)
	switch {
	case err == nil && n > 0, errors.Is(err, unix.EINTR):
		return nil
	case err == nil:
		return io.EOF
	case errors.Is(err, unix.EAGAIN):
		return unix.EAGAIN
	}
	return s.drop(fd, err)
}

// write copies a part to the file.
func (s *Stream) write(fd int) (int64, error) {
	if err := s.target.open(); err != nil {
		return 0, err
	}
	size, err := s.target.size()
	if err != nil {
		return 0, err
	}
	if s.lost > 0 {
		if size, err = s.noteLost(size); err != nil {
			return 0, err
		}
	}
	limit := s.target.room()
	if s.options.Mirror == nil && size+chunk <= limit-limit/slack {
		return s.splice(fd, size, chunk)
	}
	return s.writeNearLimit(fd, size)
}

// writeNearLimit looks for a line break in the pipe's content first.
func (s *Stream) writeNearLimit(fd int, size int64) (moved int64, err error) {
	var n int
	var rotate bool
	var failed error
	err = s.peeker.look(fd, func(waiting []byte) {
		if n, rotate = cut(waiting, size, s.target.room()); n > 0 && s.options.Mirror != nil {
			moved, failed = s.splice(fd, size, n)
			s.options.Mirror(waiting[:moved])
		}
	})
	noPeek := errors.Is(err, errNoPeek)
	switch {
	case noPeek: // Lines may be split.
		n = int(max(0, min(s.target.room()-size, chunk)))
		rotate = n == 0
	case err != nil:
		return 0, err
	}
	if n > 0 && (noPeek || s.options.Mirror == nil) {
		moved, failed = s.splice(fd, size, n)
	}
	if failed != nil || !rotate || moved != int64(n) {
		return moved, failed
	}
	if err := s.target.rotate(); err != nil {
		return 0, err
	}
	return max(moved, 1), nil // Not 0, which means the end of the pipe.
}

func (s *Stream) splice(fd int, at int64, n int) (int64, error) {
	// The index has the time before the log has the bytes, so that a reader finds it.
	if now := time.Now(); s.target.index.Due(at, now) && waiting(fd) {
		s.target.index.Mark(s.target.f, at, now)
	}
	moved, err := unix.Splice(fd, nil, int(s.target.f.Fd()), &at, n, unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return 0, fmt.Errorf("cannot write log: %w", err)
	}
	s.options.Count.Written.Add(moved)
	return moved, nil
}

// waiting reports whether the pipe has content.
func waiting(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ) // FIONREAD of pipe(7)
	return err == nil && n > 0
}

// drop discards the pipe's content, since the file cannot be written.
func (s *Stream) drop(fd int, why error) error {
	n, err := s.peeker.discard(fd, s.options.Mirror)
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	s.lost += int64(n)
	s.options.Count.Lost.Add(int64(n))
	s.reason = reasonOf(why)
	s.ledger.write(s.lost, s.reason)
	if now := time.Now(); now.Sub(s.reported) > reportInterval {
		s.reported = now
		s.options.Logger.Error("output is lost until its log can be written", "log", s.options.Path, "error", why)
	}
	// The next write opens the file again: there may be room then, or another disk.
	s.target.close()
	return nil
}

// noteLost writes a line about the missing bytes to the log, and returns the log's size.
func (s *Stream) noteLost(size int64) (int64, error) {
	const longest = 512
	if size+longest > s.target.room() {
		if err := s.target.rotate(); err != nil {
			return 0, err
		}
	}
	if err := s.target.note(fmt.Sprintf("keelson: %d bytes of output are missing here: %s", s.lost, s.reason)); err != nil {
		return 0, err
	}
	s.lost = 0
	s.ledger.write(0, "")
	return s.target.size()
}

// reasonOf returns the text of the system's error for which a log cannot be written.
func reasonOf(err error) string {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	return "the log could not be written"
}
