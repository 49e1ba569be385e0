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

// Root describes a read-only root file system.
type Root struct {
	Tree     *tree.Tree
	Time     time.Time // of everything in it
	ID       uuid.UUID // where the file system has one
	UID, GID int       // own the root folder
	Plain    bool      // erofs without compression
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

// squashfs passes a tar archive to mksquashfs, so that owners and nodes need no
// privilege. The root folder is not in the archive; options set its owner and mode.
func (r Root) squashfs(ctx context.Context, file string) error {
	seconds := strconv.FormatInt(r.Time.Unix(), 10)
	return r.feed(ctx, "fakeroot", "--", "mksquashfs", "-", file, "-tar", "-noappend", "-quiet", "-no-progress", "-comp", "zstd", "-Xcompression-level", "9",
		"-mkfs-time", seconds, "-all-time", seconds, "-root-mode", "755", "-root-uid", strconv.Itoa(r.UID), "-root-gid", strconv.Itoa(r.GID))
}

// unpackAndMake is run by fakeroot(1), which records owners and nodes for mkfs.erofs
// without the privilege to make them.
const unpackAndMake = `chmod 755 "$1" && chown "$5" "$1" && tar -xpf - -C "$1" && exec mkfs.erofs --quiet -x-1 $6 -T"$3" -U"$4" "$2" "$1"`

func (r Root) erofs(ctx context.Context, file string) error {
	dir, err := os.MkdirTemp(filepath.Dir(file), ".erofs-")
	if err != nil {
		return fmt.Errorf("cannot unpack the root: %w", err)
	}
	defer os.RemoveAll(dir)
	how := "-zlz4hc -C65536"
	if r.Plain {
		how = ""
	}
	err = r.feed(ctx, "fakeroot", "--", "sh", "-c", unpackAndMake, "erofs", dir, file,
		strconv.FormatInt(r.Time.Unix(), 10), r.ID.String(), fmt.Sprintf("%d:%d", r.UID, r.GID), how)
	return OrFull(dir, err)
}

// feed runs a program that reads the tree as a tar archive.
func (r Root) feed(ctx context.Context, program string, args ...string) error {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(r.Tree.WriteTar(writer, r.Time)) }()
	defer reader.Close() // Ends the writer if the program does not read everything.
	return run(ctx, reader, nil, program, args...)
}

// fullBelow is the number of free bytes below which a disk counts as full: less than any
// tool writes at a time.
const fullBelow = 64 << 10

// OrFull adds ENOSPC to an error if the disk of dir is full, because not every tool
// reports it.
func OrFull(dir string, err error) error {
	var st unix.Statfs_t
	if err == nil || errors.Is(err, unix.ENOSPC) || unix.Statfs(dir, &st) != nil || st.Bavail*uint64(st.Bsize) >= fullBelow {
		return err
	}
	return fmt.Errorf("%w: %w", err, unix.ENOSPC)
}

// run runs a program of the host. An error contains its output.
func run(ctx context.Context, stdin io.Reader, env []string, program string, args ...string) error {
	path, err := debian.Tool(program)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &out
	// mksquashfs refuses this variable together with -mkfs-time.
	own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SOURCE_DATE_EPOCH=") })
	cmd.Env = append(append(own, "LC_ALL=C", "TZ=UTC"), env...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s failed: %w: %s", program, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
