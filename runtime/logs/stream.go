package logs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is the most that is moved at once: what a pipe holds.
const chunk = 64 << 10

// quiet is how long a log that fails again and again is not spoken of.
const quiet = time.Minute

// Options of a stream.
type Options struct {
	Path   string       // of the log
	Limit  int64        // for the log and the one before it
	Ledger string       // file in which it is kept what the log misses, from one process to the next; may be empty
	Mirror func([]byte) // is shown what comes, and must not keep it; may be nil
	Logger *slog.Logger // is told when the log cannot be written; may be nil
}

// Stream copies a pipe to a file until it is finished.
type Stream struct {
	options Options
	target  target
	peeker  *peeker
	source  *os.File
	done    chan struct{}

	ledger ledger
	lost   int64 // bytes dropped since the last note
	reason string
	told   time.Time
}

// Copy starts to copy what comes out of source, which is a pipe or a FIFO
// and the stream's from now on.
func (l *Copier) Copy(source *os.File, options Options) *Stream {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Stream{
		options: options, target: target{path: options.Path, limit: max(options.Limit, MinLimit) / 2},
		peeker: &l.peeker, source: source, done: make(chan struct{}), ledger: ledger{options.Ledger},
	}
	s.lost, s.reason = s.ledger.read()
	go func() {
		defer close(s.done)
		s.run()
	}()
	return s
}

// Finish copies what is still in the pipe, and ends the stream. It waits until
// nobody can write any more, but not longer than grace.
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

// dropWriteEnd makes the source of one that will say when it is at its end.
// Its path may be another FIFO's by now, its descriptor is not.
func (s *Stream) dropWriteEnd() {
	fd, err := fcntl(s.source, unix.F_DUPFD_CLOEXEC)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	r, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return // The end of the wait will do.
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

// run moves whatever comes until the end of the pipe or of the wait for it.
// The poller wakes it for news only, so it returns to it with the pipe empty.
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
		s.options.Logger.Error("output is not read any more", "log", s.options.Path, "error", err)
	}
}

// move takes a part of what is in the pipe to the file. EAGAIN: it is empty;
// io.EOF: and will remain so.
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

// write does so while the file can be written.
func (s *Stream) write(fd int) (int64, error) {
	if err := s.target.open(); err != nil {
		return 0, err
	}
	size, err := s.target.size()
	if err != nil {
		return 0, err
	}
	if s.lost > 0 {
		if size, err = s.admit(size); err != nil {
			return 0, err
		}
	}
	limit := s.target.limit
	if s.options.Mirror == nil && size+chunk <= limit-limit/slack {
		return s.splice(fd, size, chunk)
	}
	return s.writeNearLimit(fd, size)
}

// writeNearLimit looks at what is in the pipe first, for an end of line.
func (s *Stream) writeNearLimit(fd int, size int64) (moved int64, err error) {
	var n int
	var rotate bool
	var failed error
	err = s.peeker.look(fd, func(waiting []byte) {
		if n, rotate = cut(waiting, size, s.target.limit); n > 0 && s.options.Mirror != nil {
			moved, failed = s.splice(fd, size, n)
			s.options.Mirror(waiting[:moved])
		}
	})
	blind := errors.Is(err, errBlind)
	switch {
	case blind: // so lines may be torn
		n = int(max(0, min(s.target.limit-size, chunk)))
		rotate = n == 0
	case err != nil:
		return 0, err
	}
	if n > 0 && (blind || s.options.Mirror == nil) {
		moved, failed = s.splice(fd, size, n)
	}
	if failed != nil || !rotate || moved != int64(n) {
		return moved, failed
	}
	if err := s.target.rotate(); err != nil {
		return 0, err
	}
	return max(moved, 1), nil // It went on, even when no byte did.
}

func (s *Stream) splice(fd int, at int64, n int) (int64, error) {
	moved, err := unix.Splice(fd, nil, int(s.target.f.Fd()), &at, n, unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return 0, fmt.Errorf("cannot write log: %w", err)
	}
	return moved, nil
}

// drop gives up what is in the pipe, since the file cannot take it.
func (s *Stream) drop(fd int, why error) error {
	n, err := s.peeker.discard(fd, s.options.Mirror)
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	s.lost += int64(n)
	s.reason = reasonOf(why)
	s.ledger.write(s.lost, s.reason)
	if now := time.Now(); now.Sub(s.told) > quiet {
		s.told = now
		s.options.Logger.Error("output is lost until its log can be written", "log", s.options.Path, "error", why)
	}
	// Next time perhaps there is room again, or another file.
	s.target.close()
	return nil
}

// admit writes down how much is missing.
func (s *Stream) admit(size int64) (int64, error) {
	const longest = 512
	if size+longest > s.target.limit {
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

// reasonOf is the system's word for why a log cannot be written.
func reasonOf(err error) string {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	return "the log could not be written"
}
