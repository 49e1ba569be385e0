package logs

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// errBlind: there is no way to look into a pipe.
var errBlind = errors.New("cannot look into pipe")

// Copier is what streams have in common.
type Copier struct{ peeker peeker }

// Close frees what it holds, when its streams are finished.
func (l *Copier) Close() { l.peeker.close() }

// peeker reads from pipes without taking anything out of them, one at a time.
type peeker struct {
	mu     sync.Mutex
	r, w   int // a pipe of its own; none when both are 0
	buffer []byte
}

// look calls f with what waits in the pipe, at most a chunk; with nothing at
// its end.
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
		return fmt.Errorf("%w: %w", errBlind, err)
	}
	for have := 0; have < int(n); {
		m, err := unix.Read(p.r, p.buffer[have:n])
		if err != nil && !errors.Is(err, unix.EINTR) || m == 0 && err == nil {
			p.shut()
			return fmt.Errorf("%w: %w", errBlind, err)
		}
		have += max(m, 0)
	}
	f(p.buffer[:n])
	return nil
}

// discard takes a chunk out of the pipe, and shows it.
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
		return fmt.Errorf("%w: %w", errBlind, err)
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
