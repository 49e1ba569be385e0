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

// MakeFIFO makes a FIFO at path, unless there is one.
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

// OpenFIFO opens both ends, so that reads see no end of file while it is open.
func OpenFIFO(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open FIFO: %w", err)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		return nil, errors.Join(fmt.Errorf("cannot open FIFO %s: not a FIFO", path), err, f.Close())
	}
	return f, nil
}

// OpenReadEnd opens the read end once a process opens the write end: before that a read
// would return the end of file immediately. The descriptor blocks, as logging daemons
// expect.
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
	// Opening the write end lets the pending open return.
	w, err := OpenFIFO(path)
	if err != nil {
		return -1, errors.Join(ctx.Err(), err)
	}
	defer w.Close()
	if e := <-opened; e.err == nil {
		_ = unix.Close(e.fd)
	}
	return -1, fmt.Errorf("cannot open FIFO %s: no writer: %w", path, ctx.Err())
}
