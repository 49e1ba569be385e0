package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Old is the name of the file that holds what came before path.
func Old(path string) string { return path + ".1" }

// target is the file that a stream ends in.
type target struct {
	path  string
	limit int64 // of this file alone
	f     *os.File
}

// open opens the file where that is not done yet. It is not O_APPEND, which
// splice(2) refuses. Containers may be given the folder: what they put in the
// file's place, such as a link to another file, is removed and not used.
func (t *target) open() error {
	if t.f != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(t.path), 0o755); err != nil {
		return fmt.Errorf("cannot make log directory: %w", err)
	}
	if info, err := os.Lstat(t.path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		if err := os.Remove(t.path); err != nil {
			return fmt.Errorf("cannot remove what is in the place of a log: %w", err)
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

// size is asked for every time: somebody may have truncated the file.
func (t *target) size() (int64, error) {
	info, err := t.f.Stat()
	if err != nil {
		return 0, fmt.Errorf("cannot write log: %w", err)
	}
	return info.Size(), nil
}

// rotate begins a new file. A kill in between leaves no file, which the next
// open makes.
func (t *target) rotate() error {
	err := os.Rename(t.path, Old(t.path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot rotate log: %w", err)
	}
	t.close()
	return t.open()
}

func (t *target) close() {
	if t.f != nil {
		_ = t.f.Close() // All it held is written.
		t.f = nil
	}
}

// note writes a line of our own, and all of it or nothing.
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
	if _, err := t.f.WriteAt([]byte(text+"\n"), at); err != nil {
		return errors.Join(fmt.Errorf("cannot write log: %w", err), t.f.Truncate(at))
	}
	return nil
}

// slack is the part of a file in which an end of line is looked for.
const slack = 8

// cut says how many of the bytes that wait go into a file of the given size,
// and whether a new file is to be begun after them. Only a line longer than
// an eighth of the limit is torn.
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
