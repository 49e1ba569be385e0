package tests

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"keelson/testvm/tier"
)

const (
	sigINT  = int(syscall.SIGINT)
	sigUSR1 = int(syscall.SIGUSR1)
	sigUSR2 = int(syscall.SIGUSR2)
	sigTERM = int(syscall.SIGTERM)
)

// makeExt4 makes a disk, with more arguments for mke2fs before its name.
func makeExt4(t *testing.T, path, size string, args ...string) {
	t.Helper()
	tier.Tool(t, "mke2fs", "e2fsprogs")
	args = append([]string{"-q", "-t", "ext4"}, append(args, path, size)...)
	tool(t, "mke2fs", args...)
}

func tool(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// checkClean wants a file system that was unmounted properly: no journal to
// replay, nothing for e2fsck to do.
func checkClean(t *testing.T, disk string) {
	t.Helper()
	head := tool(t, "dumpe2fs", "-h", disk)
	if strings.Contains(head, "needs_recovery") || !strings.Contains(head, "Filesystem state:         clean") {
		t.Errorf("the disk was not unmounted:\n%s", head)
	}
	tool(t, "e2fsck", "-fn", disk)
}

// checkKept wants the file written last in it.
func checkKept(t *testing.T, disk string) {
	t.Helper()
	if out := tool(t, "debugfs", "-R", "cat /kept", disk); !strings.Contains(out, "kept\n") {
		t.Errorf("the file on the disk holds %q", out)
	}
}
