package staging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
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

func syncAndDigest(ctx context.Context, o Options, dir, path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := errors.Join(file.Sync(), unix.Syncfs(int(file.Fd()))); err != nil {
		return "", fmt.Errorf("cannot sync: %w", err)
	}
	runtime.LockOSThread() // As in Stage.
	defer runtime.UnlockOSThread()
	c, err := start(ctx, o, orders{Dir: dir, Digest: true}, file)
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

// lowestPriority is the largest value of setpriority(2).
const lowestPriority = 19

// lowerPriority gives this thread, and what it executes, the lowest priority.
func lowerPriority(lower bool) error {
	if !lower {
		return nil
	}
	return unix.Setpriority(unix.PRIO_PROCESS, 0, lowestPriority)
}
