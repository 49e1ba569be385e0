package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// largestLine is how much of a line is looked at, in bytes.
const largestLine = 4 << 10

// Log is a file that a container's output goes to. When it is full it is
// renamed, and there is another at Path.
type Log struct {
	Path   string
	Offset int64 // where the output of this run begins
}

// Follow are the lines of logs, each without its end and cut at 4 KiB. A line
// is seen when it is complete.
func (p *Prober) Follow(logs ...Log) Lines {
	return func(ctx context.Context, see func([]byte) bool) error {
		wake := make(chan struct{}, 1)
		var tails []*tail
		defer func() {
			for _, t := range tails {
				t.close()
			}
		}()
		for _, l := range logs {
			t := &tail{path: l.Path, at: l.Offset, watches: &p.watches, wake: wake}
			tails = append(tails, t)
			if err := t.watchFolder(); err != nil {
				return err
			}
		}
		for {
			for _, t := range tails {
				if enough, err := t.read(ctx, see); enough || err != nil {
					return err
				}
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-wake:
			}
		}
	}
}

// tail follows one log.
type tail struct {
	path    string
	at      int64
	file    *os.File // nil: not there yet
	line    []byte   // begun, not ended
	buffer  []byte
	watches *watches
	wake    chan<- struct{}
	watched [2]*watch // folder, file
}

func (t *tail) close() {
	for _, w := range t.watched {
		t.watches.remove(w)
	}
	if t.file != nil {
		_ = t.file.Close()
	}
}

func (t *tail) watchFolder() (err error) {
	t.watched[0], err = t.watches.add(filepath.Dir(t.path), folderEvents, t.wake)
	return err
}

// read shows what there is by now.
func (t *tail) read(ctx context.Context, see func([]byte) bool) (bool, error) {
	for ctx.Err() == nil {
		if t.file == nil {
			if err := t.open(); err != nil {
				return false, ignoreMissing(err)
			}
		}
		// Asked for first: whoever rotates writes to the old one no more.
		replaced := t.replaced()
		if enough, err := t.readFile(ctx, see); enough || err != nil {
			return enough, err
		}
		if !replaced {
			return false, nil
		}
		t.watches.remove(t.watched[1])
		_ = t.file.Close()
		t.file, t.watched[1], t.at = nil, nil, 0
	}
	return false, nil
}

func (t *tail) open() error {
	f, err := os.OpenFile(t.path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("cannot follow %s: it is no file", t.path)
	}
	if err == nil {
		t.watched[1], err = t.watches.add(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), fileEvents, t.wake)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	t.file = f
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// replaced: there is another file at its path.
func (t *tail) replaced() bool {
	now, err := os.Stat(t.path)
	if err != nil {
		return false
	}
	open, err := t.file.Stat()
	return err == nil && !os.SameFile(now, open)
}

// readFile shows the rest of the open file.
func (t *tail) readFile(ctx context.Context, see func([]byte) bool) (bool, error) {
	if info, err := t.file.Stat(); err == nil && info.Size() < t.at {
		t.at, t.line = 0, nil // It was emptied, or the offset was of the one before.
	}
	if t.buffer == nil {
		t.buffer = make([]byte, 16<<10)
	}
	for ctx.Err() == nil {
		n, err := t.file.ReadAt(t.buffer, t.at)
		t.at += int64(n)
		if t.split(t.buffer[:n], see) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("cannot follow %s: %w", t.path, err)
		}
	}
	return false, nil
}

// split shows complete lines and keeps the rest.
func (t *tail) split(data []byte, see func([]byte) bool) bool {
	for {
		end := bytes.IndexByte(data, '\n')
		part := data
		if end >= 0 {
			part = data[:end]
		}
		t.line = append(t.line, part[:min(len(part), largestLine-len(t.line))]...)
		if end < 0 {
			return false
		}
		if see(bytes.TrimSuffix(t.line, []byte("\r"))) {
			return true
		}
		t.line, data = t.line[:0], data[end+1:]
	}
}
