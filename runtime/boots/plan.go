package boots

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	units "github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// Parameter is the parameter of the kernel command line that ParseBounds reads.
const Parameter = "keelson.boots"

// Bounds is how much is kept.
type Bounds struct {
	Boots int   `json:"boots"` // with the one that runs; 0: none
	Size  int64 `json:"size"`  // of all that package boots stores
}

// Limits of bounds, and the default.
const (
	defaultBoots = 10
	mostBoots    = 1000
	leastSize    = 1 << 20
	mostSize     = 1 << 40
	defaultSize  = 64 << 20 // at most; of a smaller disk, a tenth
)

// ParseBounds reads a value of keelson.boots=: NUMBER[,size=SIZE], where SIZE has a unit such as
// MiB. Size is 0 when it is missing.
func ParseBounds(value string) (b Bounds, err error) {
	number, size, sized := strings.Cut(value, ",")
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n > mostBoots {
		return b, fmt.Errorf("bad number of boots %q: want 0 to %d", number, mostBoots)
	}
	b.Boots = int(n)
	if !sized {
		return b, nil
	}
	size, ok := strings.CutPrefix(size, "size=")
	if !ok {
		return b, fmt.Errorf("bad value %q: want NUMBER,size=SIZE", value)
	}
	b.Size, err = parseSize(size)
	return b, err
}

func parseSize(text string) (int64, error) {
	n, err := units.RAMInBytes(text)
	if err != nil || n < leastSize || n > mostSize {
		return 0, fmt.Errorf("bad size %q: want a size such as 32MiB, from 1MiB to 1TiB", text)
	}
	return n, nil
}

// DefaultBounds are those without a parameter.
func DefaultBounds() Bounds { return Bounds{Boots: defaultBoots} }

// on returns the bounds with a size, for a disk that has total bytes.
func (b Bounds) on(total int64) Bounds {
	if b.Size == 0 {
		b.Size = min(max(total/10, leastSize), defaultSize)
	}
	return b
}

// Shares of one boot. Together they are at most half of the size, so that there is room for the
// boot that runs and the one before it.
func (b Bounds) kernel() int64   { return min(b.Size/4, 1<<20) }
func (b Bounds) oneShots() int64 { return min(b.Size/8, 4<<20) }
func (b Bounds) pstore() int64   { return min(b.Size/8, 1<<20) }
func (b Bounds) reserve() int64  { return b.kernel() + b.oneShots() + b.pstore() }

// Excess returns how many of the oldest boots exceed the bounds. sizes are those of the boots
// before the one that runs, the oldest first. The last one stays if any may.
func (b Bounds) Excess(sizes []int64) int {
	if b.Boots == 0 {
		return len(sizes)
	}
	kept, total := 0, b.reserve()
	for i := len(sizes) - 1; i >= 0; i-- {
		total += sizes[i]
		if kept+1 >= b.Boots || kept > 0 && total > b.Size {
			break
		}
		kept++
	}
	return len(sizes) - kept
}

// errMemory is returned for a file system in memory, which keeps nothing.
var errMemory = errors.New("file system in memory")

// capacity returns the size of the file system of a folder.
func capacity(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("cannot examine %s: %w", dir, err)
	}
	switch int64(st.Type) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return 0, errMemory
	}
	if int64(st.Flags)&unix.ST_RDONLY != 0 {
		return 0, unix.EROFS
	}
	return int64(st.Blocks * uint64(st.Bsize)), nil
}
