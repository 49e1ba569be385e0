package boot

import (
	"errors"
	"io/fs"

	"keelson/runtime/readfile"
)

// readLimit is the largest size, in bytes, of the image's files that are read whole.
const readLimit = 64 << 10

// readOptional reads a file of the image; a missing file is empty.
func readOptional(path string) ([]byte, error) {
	data, err := readfile.Limited(path, readLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}
