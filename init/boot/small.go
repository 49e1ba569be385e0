package boot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// smallLimit is the greatest size of the files of an image that are read whole,
// in bytes.
const smallLimit = 64 << 10

// readSmall reads a file of an image; a missing one is empty. What is no regular
// file, such as a FIFO or a device, could hold up the boot and is an error.
func readSmall(path string) ([]byte, error) {
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
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, smallLimit+1))
	if err == nil && len(data) > smallLimit {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, smallLimit)
	}
	return data, err
}
