package logs

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// errNoPeek is returned when a pipe cannot be read without removing its content.
var errNoPeek = errors.New("cannot look into pipe")

// Copier starts streams, which share a buffer.
type Copier struct{ peeker peeker }

// Close frees the buffer. Its streams must be finished.
func (l *Copier) Close() { l.peeker.close() }

// peeker reads pipes without removing their content, one pipe at a time.
type peeker struct {
	mu     sync.Mutex
	r, w   int // its own pipe for tee(2); both are 0 while it is not open
	buffer []byte
}

// look calls f with the content of the pipe, at most a chunk; with an empty slice at the
// end of file.
func (p *peeker) look(fd int, f func([]byte)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.open(); err != nil {
		return err
	}
	n, err := unix.Tee(fd, p.w, chunk, unix.SPLICE_F_NONBLOCK)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoPeek, err)
	}
	for have := 0; have < int(n); {
		m, err := unix.Read(p.r, p.buffer[have:n])
		if err != nil && !errors.Is(err, unix.EINTR) || m == 0 && err == nil {
			p.shut()
			return fmt.Errorf("%w: %w", errNoPeek, err)
		}
		have += max(m, 0)
	}
	f(p.buffer[:n])
	return nil
}

// discard removes a chunk from the pipe, and calls show with it.
func (p *peeker) discard(fd int, show func([]byte)) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allocate()
	for {
		n, err := unix.Read(fd, p.buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && show != nil {
			show(p.buffer[:n])
		}
		return max(n, 0), err
	}
}

func (p *peeker) allocate() {
	if p.buffer == nil {
		p.buffer = make([]byte, chunk)
	}
}

func (p *peeker) open() error {
	p.allocate()
	if p.w != 0 {
		return nil
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("%w: %w", errNoPeek, err)
	}
	p.r, p.w = ends[0], ends[1]
	return nil
}

func (p *peeker) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut()
}

func (p *peeker) shut() {
	if p.w != 0 {
		_, _ = unix.Close(p.r), unix.Close(p.w)
		p.r, p.w = 0, 0
	}
}
