package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/logs/index"
)

// Old returns the path of the rotated log of path.
func Old(path string) string { return path + ".1" }

// Remove removes the log of path, the rotated log and their indexes.
func Remove(path string) error {
	for _, p := range []string{path, Old(path)} {
		index.Remove(p)
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove log: %w", err)
		}
	}
	return nil
}

// target is the file to which a stream is copied.
type target struct {
	path  string
	limit int64 // of this file and its index
	f     *os.File
	index index.Writer
}

func newTarget(path string, limit int64) target {
	return target{path: path, limit: limit, index: index.NewWriter(path)}
}

// room returns the limit of the file alone.
func (t *target) room() int64 { return t.limit - t.index.Size() }

// open opens the file unless it is open. It does not use O_APPEND, which splice(2)
// refuses. Containers may have access to the folder: anything else in the file's place,
// such as a link to another file, is removed and not followed.
func (t *target) open() error {
	if t.f != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(t.path), 0o755); err != nil {
		return fmt.Errorf("cannot make log directory: %w", err)
	}
	if info, err := os.Lstat(t.path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		if err := os.Remove(t.path); err != nil {
			return fmt.Errorf("cannot replace a log that is not a regular file: %w", err)
		}
	}
	f, err := os.OpenFile(t.path, os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return fmt.Errorf("cannot open log: %w", err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("cannot write log %s: not a regular file", t.path), err, f.Close())
	}
	t.f = f
	return nil
}

// size reads the size each time: another process may have truncated the file.
func (t *target) size() (int64, error) {
	info, err := t.f.Stat()
	if err != nil {
		return 0, fmt.Errorf("cannot write log: %w", err)
	}
	return info.Size(), nil
}

// rotate renames the file and opens a new one. If the process is killed in between, the
// next open makes the file.
func (t *target) rotate() error {
	err := os.Rename(t.path, Old(t.path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot rotate log: %w", err)
	}
	t.close()
	t.index.Rotate(Old(t.path))
	return t.open()
}

func (t *target) close() {
	t.index.Close()
	if t.f != nil {
		_ = t.f.Close() // All of it is written.
		t.f = nil
	}
}

// note appends a line of keelson's own, completely or not at all.
func (t *target) note(text string) error {
	at, err := t.size()
	if err != nil {
		return err
	}
	last := []byte{'\n'}
	if at > 0 {
		if _, err := t.f.ReadAt(last, at-1); err != nil {
			return fmt.Errorf("cannot read log: %w", err)
		}
	}
	if last[0] != '\n' {
		text = "\n" + text
	}
	t.index.Mark(t.f, at, time.Now())
	if _, err := t.f.WriteAt([]byte(text+"\n"), at); err != nil {
		return errors.Join(fmt.Errorf("cannot write log: %w", err), t.f.Truncate(at))
	}
	return nil
}

// slack: the last 1/slack of a file is where it is rotated at a line break.
const slack = 8

// cut returns how many of the waiting bytes go into a file of the given size, and whether
// to rotate it then. Only a line longer than an eighth of the limit is split.
func cut(waiting []byte, size, limit int64) (n int, rotate bool) {
	soft, all := limit-limit/slack, int64(len(waiting))
	if all == 0 || size+all <= soft {
		return len(waiting), false
	}
	room := max(0, min(limit-size, all))
	if i := bytes.LastIndexByte(waiting[:room], '\n'); i >= 0 {
		return i + 1, true
	}
	switch {
	case size+all <= limit:
		return len(waiting), false
	case size >= soft:
		return 0, true
	}
	return int(room), true
}

// MinLimit and MaxLimit are the bounds of what Share returns.
const (
	MinLimit = 64 << 10
	MaxLimit = 8 << 20
)

// Share returns the limit for each of a number of streams that log to dir: together they
// get a tenth of its file system.
func Share(dir string, streams int) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return MinLimit
	}
	return share(st.Blocks*uint64(st.Bsize), streams)
}

func share(total uint64, streams int) int64 {
	each := total / 10 / uint64(max(streams, 1))
	return int64(min(max(each, MinLimit), MaxLimit))
}
