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

// cgroup holds those of the containers of this process's tests. Hierarchies are
// the machine's own, where other tests may have services of the same name.
var cgroup = fmt.Sprintf("keelson-test-%08x", rand.Uint32())

// hierarchies are where those of cgroups are mounted.
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

// removeCgroups takes away those that are empty.
func removeCgroups() {
	for _, dir := range hierarchies("cgroup", "cgroup2") {
		removeCgroup(filepath.Join(dir, cgroup))
	}
}

// removeCgroup removes a cgroup and those below it; false when it cannot.
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

// makeCgroup makes one for a system, which goes with the test. It is empty
// where there is no cgroup2 hierarchy to make it in.
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
	t.Cleanup(func() { // Whatever is in it was killed, but that takes a moment.
		for deadline := time.Now().Add(patience); !removeCgroup(dir) && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
	})
	return dir
}

// enterCgroup makes dir the root of all cgroups for this process
// (cgroup_namespaces(7)); empty stands for the one it is in.
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
