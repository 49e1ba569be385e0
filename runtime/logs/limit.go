package logs

import "golang.org/x/sys/unix"

// MinLimit and MaxLimit bound the limits that Share gives.
const (
	MinLimit = 64 << 10
	MaxLimit = 8 << 20
)

// Share is the limit of one of as many streams as will log to dir: together
// they get a tenth of its file system.
func Share(dir string, streams int) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return MinLimit
	}
	return share(st.Blocks*uint64(st.Bsize), streams)
}

func share(total uint64, streams int) int64 {
	each := total / 10 / uint64(max(streams, 1))
	return int64(min(max(each, MinLimit), MaxLimit))
}
