package tests

import (
	"encoding/json"
	"fmt"
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
	sigSTOP = int(syscall.SIGSTOP)
	sigCONT = int(syscall.SIGCONT)
)

// makeExt4 makes a disk with an ext4 file system. args are passed to mke2fs.
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

// checkClean checks that a file system was unmounted cleanly: e2fsck has no journal to
// replay and nothing to repair.
func checkClean(t *testing.T, disk string) {
	t.Helper()
	head := tool(t, "dumpe2fs", "-h", disk)
	if strings.Contains(head, "needs_recovery") || !strings.Contains(head, "Filesystem state:         clean") {
		t.Errorf("the disk was not unmounted cleanly:\n%s", head)
	}
	tool(t, "e2fsck", "-fn", disk)
}

// checkKept checks that the file system has the file that was written last.
func checkKept(t *testing.T, disk string) {
	t.Helper()
	if out := tool(t, "debugfs", "-R", "cat /kept", disk); !strings.Contains(out, "kept\n") {
		t.Errorf("the file on the disk holds %q", out)
	}
}

// partition copies partition n of a disk to a file and returns its position in bytes.
// Partitions are counted from 1; -1 is the last one.
func partition(t *testing.T, disk string, n int, file string) (start, size int64) {
	t.Helper()
	var table struct {
		Partitiontable struct{ Partitions []struct{ Start, Size int64 } }
	}
	out, err := exec.Command("sfdisk", "--json", disk).Output() // It may warn about a backup table that is not at the end.
	if err == nil {
		err = json.Unmarshal(out, &table)
	}
	all := table.Partitiontable.Partitions
	if n < 0 {
		n += len(all) + 1
	}
	if err != nil || n < 1 || len(all) < n {
		t.Fatalf("%s has no partition %d: %+v, %v", disk, n, table, err)
	}
	p := all[n-1]
	tool(t, "dd", "if="+disk, "of="+file, "conv=sparse", "status=none", fmt.Sprint("skip=", p.Start), fmt.Sprint("count=", p.Size))
	if err := os.Truncate(file, p.Size*512); err != nil { // dd omits zeros at the end.
		t.Fatal(err)
	}
	return p.Start * 512, p.Size * 512
}
