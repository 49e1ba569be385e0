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

	"keelson/runtime/bundle"
)

// largestLine is the most of a line that is matched, in bytes.
const largestLine = 4 << 10

// logCheck succeeds when a line matches. Each matching line is a heartbeat.
func logCheck(p bundle.Probe, c Container) (check, error) {
	if c.Lines == nil {
		return check{}, errors.New("the service's output cannot be read")
	}
	beats := func(ctx context.Context, beat func()) error {
		err := c.Lines(ctx, func(line []byte) bool {
			if p.Pattern.Match(line) {
				beat()
			}
			return ctx.Err() != nil
		})
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("log: %w", err)
		}
		return fmt.Errorf("log: no line matches %q", p.Target)
	}
	return check{beats: beats, wait: firstBeat(beats)}, nil
}

// firstBeat waits for the first heartbeat.
func firstBeat(all heartbeats) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		found := false
		err := all(ctx, func() { found = true; cancel() })
		if found {
			return nil
		}
		return err
	}
}

// Log is a file with output of a container. When it is full, it is renamed and another
// one is created at Path.
type Log struct {
	Path   string
	Offset int64 // where the output of the current run begins
}

// Follow returns the lines of logs, without their ends and cut off at 4 KiB. Only
// complete lines are passed on.
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
	file    *os.File // nil: does not exist yet
	line    []byte   // incomplete
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

// read passes on the lines that the log has now.
func (t *tail) read(ctx context.Context, see func([]byte) bool) (bool, error) {
	for ctx.Err() == nil {
		if t.file == nil {
			if err := t.open(); err != nil {
				return false, ignoreMissing(err)
			}
		}
		// Checked before reading: nothing is written to the old file after a rotation.
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
		err = fmt.Errorf("cannot follow %s: not a regular file", t.path)
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

// replaced reports whether another file is at the path.
func (t *tail) replaced() bool {
	now, err := os.Stat(t.path)
	if err != nil {
		return false
	}
	open, err := t.file.Stat()
	return err == nil && !os.SameFile(now, open)
}

// readFile passes on the rest of the open file.
func (t *tail) readFile(ctx context.Context, see func([]byte) bool) (bool, error) {
	if info, err := t.file.Stat(); err == nil && info.Size() < t.at {
		t.at, t.line = 0, nil // It was truncated, or the offset is that of an earlier file.
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

// split passes on complete lines and keeps the rest.
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
