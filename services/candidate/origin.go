package candidate

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
)

// Origin is the erofs image of a new version in the file that a client has sent. The version starts from
// there and the image is copied into the store meanwhile, before the commit: to copy it takes longer
// than to start the service. dm-verity verifies each block that the version reads, whatever happens
// to the file. A nil *Origin is of a version that the store has.
type Origin struct {
	file  *os.File
	place artifact.Place
	left  atomic.Bool // the store has the image
}

// newOrigin keeps the file of a client open: the client may go away.
func newOrigin(r io.Reader, place artifact.Place) (*Origin, error) {
	sent, ok := r.(*os.File)
	if !ok {
		return nil, errors.New("the artifact is no file")
	}
	fd, err := unix.FcntlInt(sent.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot keep the artifact open: %w", err)
	}
	return &Origin{file: os.NewFile(uintptr(fd), sent.Name()), place: place}, nil
}

// Source is bundle.Image.Source.
func (o *Origin) Source() (*os.File, int64) {
	if o.left.Load() {
		return nil, 0
	}
	return o.file, o.place.Offset
}

// Leave makes the version run from the copy in the store.
func (o *Origin) Leave(root *bundle.Image, use func(*bundle.Image) error) error {
	if o == nil {
		return nil
	}
	o.left.Store(true)
	return use(root)
}

// Close ends the use of the file. A device that is on it keeps it open.
func (o *Origin) Close() {
	if o != nil {
		o.left.Store(true)
		_ = o.file.Close()
	}
}

// UseOrigin makes b, which is in dir, run from the file of the client if it is the new version and the
// store does not have its image yet.
func (c *Candidate) UseOrigin(b *bundle.Bundle, dir string) {
	if c.Origin != nil && dir == c.Dir && b.Image != nil {
		b.Image.Source = c.Origin.Source
	}
}
