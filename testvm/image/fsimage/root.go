package fsimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"keelson/testvm/image/debian"
	"keelson/testvm/image/tree"
)

// Root says what a read-only root file system is made of.
type Root struct {
	Tree *tree.Tree
	Time time.Time // of everything in it
	ID   uuid.UUID // where the file system has one
}

// Make writes a file system of the given type, squashfs or erofs, to file.
func (r Root) Make(ctx context.Context, fstype, file string) error {
	switch fstype {
	case "squashfs":
		return r.squashfs(ctx, file)
	case "erofs":
		return r.erofs(ctx, file)
	}
	return fmt.Errorf("cannot make a file system of type %q: neither squashfs nor erofs", fstype)
}

// squashfs lets mksquashfs read a tar archive, which carries owners and nodes.
// The root folder, which is not in it, would have the owner of the process.
func (r Root) squashfs(ctx context.Context, file string) error {
	seconds := strconv.FormatInt(r.Time.Unix(), 10)
	return r.feed(ctx, "fakeroot", "--", "mksquashfs", "-", file, "-tar", "-noappend", "-quiet", "-no-progress", "-comp", "zstd", "-Xcompression-level", "9",
		"-mkfs-time", seconds, "-all-time", seconds, "-root-mode", "755", "-root-uid", "0", "-root-gid", "0")
}

// unpackAndMake is run by fakeroot(1), which remembers owners and nodes for
// mkfs.erofs when there is no right to make them.
const unpackAndMake = `tar -xpf - -C "$1" && exec mkfs.erofs --quiet -x-1 -zlz4hc -C65536 -T"$3" -U"$4" "$2" "$1"`

func (r Root) erofs(ctx context.Context, file string) error {
	dir, err := os.MkdirTemp(filepath.Dir(file), ".erofs-")
	if err != nil {
		return fmt.Errorf("cannot unpack the root: %w", err)
	}
	defer os.RemoveAll(dir)
	err = r.feed(ctx, "fakeroot", "--", "sh", "-c", unpackAndMake, "erofs", dir, file,
		strconv.FormatInt(r.Time.Unix(), 10), r.ID.String())
	return OrFull(dir, err)
}

// feed runs a program that reads the tree as a tar archive.
func (r Root) feed(ctx context.Context, program string, args ...string) error {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(r.Tree.WriteTar(writer, r.Time)) }()
	defer reader.Close() // Ends the writer when the program has not read all.
	return run(ctx, reader, nil, program, args...)
}

// fullBelow is how much room in bytes a disk is full below: less than any tool
// writes at a time.
const fullBelow = 64 << 10

// OrFull adds to an error that the disk under dir is full, which not every tool
// says.
func OrFull(dir string, err error) error {
	var st unix.Statfs_t
	if err == nil || errors.Is(err, unix.ENOSPC) || unix.Statfs(dir, &st) != nil || st.Bavail*uint64(st.Bsize) >= fullBelow {
		return err
	}
	return fmt.Errorf("%w: %w", err, unix.ENOSPC)
}

// run runs a program of the host, and gives what it printed in the error.
func run(ctx context.Context, stdin io.Reader, env []string, program string, args ...string) error {
	path, err := debian.Tool(program)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &out
	// mksquashfs refuses a time of its own beside this one.
	own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SOURCE_DATE_EPOCH=") })
	cmd.Env = append(append(own, "LC_ALL=C", "TZ=UTC"), env...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s failed: %w: %s", program, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
