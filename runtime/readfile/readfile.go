// Package readfile reads whole files of images and data disks, which may be something else
// than expected: a FIFO or a device, which could block the reader, or larger than memory.
//
// Source: open(2), O_NONBLOCK and O_NOFOLLOW.
package readfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Limited reads a regular file, or the one that a symbolic link leads to. A file of more
// than limit bytes is an error. Errors name the file; for one that does not exist, they wrap
// [fs.ErrNotExist].
func Limited(path string, limit int64) ([]byte, error) { return read(path, limit, 0) }

// NoFollow is Limited for a file that must not be a symbolic link, since less privileged
// programs can write to its folder. Links in folders above are followed.
func NoFollow(path string, limit int64) ([]byte, error) {
	return read(path, limit, syscall.O_NOFOLLOW)
}

// JSON decodes a file that NoFollow reads into v. known is false if it does not exist.
func JSON(path string, limit int64, v any) (known bool, err error) {
	text, err := NoFollow(path, limit)
	if errors.Is(err, fs.ErrNotExist) { // Also if it is being removed.
		return false, nil
	}
	if err != nil {
		return true, err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return true, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return true, nil
}

func read(path string, limit int64, flags int) ([]byte, error) {
	data, err := readRegular(path, limit, flags)
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		err = e.Err // The path is named below.
	}
	if errors.Is(err, syscall.ELOOP) && flags != 0 {
		err = errors.New("it is a symbolic link")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return data, nil
}

// ErrNotRegular is returned for what is not a regular file.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a regular file with flags of os.OpenFile. It waits for nothing, and does not follow
// a symbolic link, for which the error is ErrNotRegular.
func Open(path string, flags int) (*os.File, fs.FileInfo, error) {
	f, info, err := open(path, flags|syscall.O_NOFOLLOW)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) { // ENXIO: a socket, or a FIFO without reader.
		err = fmt.Errorf("cannot open %s: %w", path, ErrNotRegular)
	}
	return f, info, err
}

func open(path string, flags int) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, flags|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotRegular
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

func readRegular(path string, limit int64, flags int) ([]byte, error) {
	f, _, err := open(path, os.O_RDONLY|flags)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("larger than %s", size(limit))
	}
	return data, nil
}

// size returns a number of bytes in the largest unit that shows it whole.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
