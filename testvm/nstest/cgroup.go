package nstest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is the parent of the cgroups of this process's containers. The hierarchies are
// the machine's, where other tests may have services of the same name.
var cgroup = fmt.Sprintf("keelson-test-%08x", rand.Uint32())

// hierarchies returns the mount points of cgroup hierarchies.
func hierarchies(types ...string) (dirs []string) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && slices.Contains(types, f[2]) {
			dirs = append(dirs, f[1])
		}
	}
	return dirs
}

// removeCgroups removes empty cgroups.
func removeCgroups() {
	for _, dir := range hierarchies("cgroup", "cgroup2") {
		removeCgroup(filepath.Join(dir, cgroup))
	}
}

// removeCgroup removes a cgroup and those below it, and reports whether it could.
func removeCgroup(root string) bool {
	var dirs []string
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	gone := true
	for _, dir := range slices.Backward(dirs) {
		gone = os.Remove(dir) == nil && gone
	}
	return gone
}

// cgroupMarker is the environment variable with the cgroup of a system.
const cgroupMarker = "KEELSON_NSTEST_CGROUP"

// makeCgroup makes a cgroup for a system, which is removed after the test. It returns ""
// if there is no cgroup2 hierarchy.
func makeCgroup(t *testing.T) string {
	t.Helper()
	mounted := slices.DeleteFunc(hierarchies("cgroup2"), func(dir string) bool { // hidden by another mount
		var st unix.Statfs_t
		return unix.Statfs(dir, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC
	})
	if len(mounted) == 0 {
		return ""
	}
	dir, err := os.MkdirTemp(mounted[0], "keelson-test-")
	if err != nil {
		t.Fatalf("cannot make a cgroup: %v", err)
	}
	t.Cleanup(func() { // Its processes have been killed, but may not have ended yet.
		for deadline := time.Now().Add(patience); !removeCgroup(dir) && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
	})
	return dir
}

// enterCgroup makes dir the root of this process's cgroup namespace
// (cgroup_namespaces(7)). If dir is "", the current cgroup becomes the root.
func enterCgroup(dir string) error {
	if dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("cannot enter cgroup: %w", err)
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("cannot make a cgroup namespace: %w", err)
	}
	return nil
}
