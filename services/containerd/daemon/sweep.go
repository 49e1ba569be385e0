package daemon

import (
	"os"
	"path/filepath"
)

// sweep removes what an earlier containerd has left below root that was killed
// while it started: it tries out whether its file system has fs-verity, in a
// folder of a random name (containerd's internal/fsverity, IsSupported). There
// is one containerd at a time.
func sweep(root string) {
	left, _ := filepath.Glob(filepath.Join(root, "io.containerd.content.v1.content", ".fsverity-check-*"))
	for _, dir := range left {
		_ = os.RemoveAll(dir) // There will be another time.
	}
}
