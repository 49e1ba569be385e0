package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// MakeFIFO makes a FIFO at path, or leaves the one that is there.
func MakeFIFO(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("cannot make FIFO: %w", err)
	}
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() == fs.ModeNamedPipe {
		return nil
	}
	if err == nil {
		err = os.RemoveAll(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot replace FIFO: %w", err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return fmt.Errorf("cannot make FIFO %s: %w", path, err)
	}
	return nil
}

// OpenFIFO opens both ends, so that there is no end of file while it is open.
func OpenFIFO(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open FIFO: %w", err)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		return nil, errors.Join(fmt.Errorf("cannot open FIFO %s: it is none", path), err, f.Close())
	}
	return f, nil
}

// OpenReadEnd opens the read end when somebody has the write end open, or is
// about to: one opened earlier would be at its end at once. The descriptor
// blocks, as who is handed it expects.
func OpenReadEnd(ctx context.Context, path string) (fd int, err error) {
	type end struct {
		fd  int
		err error
	}
	opened := make(chan end, 1)
	go func() {
		for {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
			if !errors.Is(err, unix.EINTR) {
				opened <- end{fd, err}
				return
			}
		}
	}()
	select {
	case e := <-opened:
		if e.err != nil {
			return -1, fmt.Errorf("cannot open FIFO %s: %w", path, e.err)
		}
		return e.fd, nil
	case <-ctx.Done():
	}
	// A writer sets the open free.
	w, err := OpenFIFO(path)
	if err != nil {
		return -1, errors.Join(ctx.Err(), err)
	}
	defer w.Close()
	if e := <-opened; e.err == nil {
		_ = unix.Close(e.fd)
	}
	return -1, fmt.Errorf("cannot open FIFO %s: nobody writes: %w", path, ctx.Err())
}
