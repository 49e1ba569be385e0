package staging

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"keelson/runtime/artifact"
)

// Digest writes a file and its file system to the disk, as Stage does without
// Options.DeferRoot, and returns the digest of the file as sha256:HEX.
//
// The child that computes it is confined as that of Stage, to the empty folder dir. It has the
// lowest priority, also for reading the disk: see ioprio_set(2) on processes that have set
// none.
func Digest(ctx context.Context, o Options, dir, path string) (string, error) {
	sum, err := syncAndDigest(ctx, o.withDefaults(), dir, path)
	if err != nil {
		return "", fmt.Errorf("cannot compute the digest of %s: %w", path, err)
	}
	return sum, nil
}

// Copy copies a part of a file to the file at path, which exists and is empty, and writes that and its
// file system to the disk. It returns the digest of what it has copied as sha256:HEX. The child that
// does it is that of Digest; it can also write to the file.
func Copy(ctx context.Context, o Options, dir string, from *os.File, place artifact.Place, path string) (string, error) {
	sum, err := copyAndDigest(ctx, o.withDefaults(), dir, from, place, path)
	if err != nil {
		return "", fmt.Errorf("cannot copy the root to %s: %w", path, err)
	}
	return sum, nil
}

func copyAndDigest(ctx context.Context, o Options, dir string, from *os.File, place artifact.Place, path string) (string, error) {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer to.Close()
	sum, err := digestIn(ctx, o, orders{Dir: dir, Digest: true, Copy: &place, settings: settings{MaxSize: place.Size}}, from, to)
	if err != nil {
		return "", err
	}
	if err := errors.Join(to.Sync(), unix.Syncfs(int(to.Fd()))); err != nil {
		return "", fmt.Errorf("cannot sync: %w", err)
	}
	return sum, nil
}

func syncAndDigest(ctx context.Context, o Options, dir, path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := errors.Join(file.Sync(), unix.Syncfs(int(file.Fd()))); err != nil {
		return "", fmt.Errorf("cannot sync: %w", err)
	}
	return digestIn(ctx, o, orders{Dir: dir, Digest: true}, file)
}

// digestIn runs a child that returns a digest. more are its further descriptors.
func digestIn(ctx context.Context, o Options, todo orders, file *os.File, more ...*os.File) (string, error) {
	runtime.LockOSThread() // As in Stage.
	defer runtime.UnlockOSThread()
	c, err := start(ctx, o, todo, file, more...)
	if err != nil {
		return "", o.cannotStart(err)
	}
	res, err := c.wait(ctx, o)
	if err == nil && !digestForm().MatchString(res.Digest) {
		err = fmt.Errorf("the child has the result %q", res.Digest)
	}
	return res.Digest, err
}

// sumOf returns the digest of what r has.
func sumOf(r io.Reader) (string, error) {
	sum, err := digest.FromReader(r)
	return sum.String(), err
}

// copyTarget is the descriptor of the file that the child copies to.
const copyTarget = 3

// copyPart copies a part of in to out and returns its digest.
func copyPart(in io.ReaderAt, out io.Writer, place artifact.Place) (string, error) {
	sum := sha256.New()
	part := io.NewSectionReader(in, place.Offset, place.Size)
	n, err := io.CopyBuffer(onlyWriter{io.MultiWriter(out, sum)}, onlyReader{part}, make([]byte, copyBuffer))
	if err == nil && n != place.Size {
		err = fmt.Errorf("the file has only %d bytes from %d on, of %d", n, place.Offset, place.Size)
	}
	return digest.NewDigest(digest.SHA256, sum).String(), err
}

// onlyReader hides other methods.
type onlyReader struct{ io.Reader }

// lowestPriority is the largest value of setpriority(2).
const lowestPriority = 19

// lowerPriority gives this thread, and what it executes, the lowest priority.
func lowerPriority(lower bool) error {
	if !lower {
		return nil
	}
	return unix.Setpriority(unix.PRIO_PROCESS, 0, lowestPriority)
}
