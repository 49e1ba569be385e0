package boot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// readLimit is the largest size, in bytes, of the image's files that are read whole.
const readLimit = 64 << 10

// readLimited reads a file of the image; a missing file is empty. A FIFO, a device or
// the like, which could block the boot, is an error.
func readLimited(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, readLimit+1))
	if err == nil && len(data) > readLimit {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, readLimit)
	}
	return data, err
}
