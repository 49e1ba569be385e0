package fsimage

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/docker/go-units"
	"github.com/google/uuid"
)

// Ext4 describes an empty ext4 file system that can grow later.
type Ext4 struct {
	Label string // at most 16 bytes
	Size  int64  // bytes
	Time  time.Time
	ID    uuid.UUID
}

// Ext4Least is the smallest size of an Ext4, in bytes.
const Ext4Least = 32 << 20

// A journal does not grow with its file system, so it is larger than mke2fs's default.
// resizeBlocks is the size up to which the file system can grow without moving its
// table of groups: 2 TiB.
const (
	journalShare = 4
	journalMost  = 64 << 20
	resizeBlocks = 1 << 29
)

// ext4Features are listed explicitly, so that the building machine's mke2fs.conf(5) has
// no effect. Kernels since 4.0 support all of them.
const ext4Features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg," +
	"sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"

// Make writes the file system to file, which stays sparse.
func (e Ext4) Make(ctx context.Context, file string) error {
	if e.Size < Ext4Least {
		return fmt.Errorf("cannot make an ext4 file system of %s: it takes at least %s", units.BytesSize(float64(e.Size)), units.BytesSize(Ext4Least))
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		return fmt.Errorf("cannot make an ext4 file system: %w", err)
	}
	if err := os.Truncate(file, e.Size); err != nil {
		return fmt.Errorf("cannot make an ext4 file system: %w", err)
	}
	// Second 0 would mean the current time.
	env := []string{"MKE2FS_CONFIG=/dev/null", "E2FSPROGS_FAKE_TIME=" + strconv.FormatInt(max(e.Time.Unix(), 1), 10)}
	journal := min(e.Size/journalShare, journalMost) >> 20
	return run(ctx, nil, env, "mke2fs", "-q", "-F", "-t", "ext4", "-O", ext4Features,
		"-b", "4096", "-I", "256", "-i", "16384", "-m", "0", "-J", fmt.Sprintf("size=%d", journal),
		"-L", e.Label, "-U", e.ID.String(),
		"-E", fmt.Sprintf("hash_seed=%s,resize=%d,root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1", e.ID, resizeBlocks), file)
}
