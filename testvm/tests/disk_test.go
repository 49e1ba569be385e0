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

// partition copies one of a disk's partitions, counted from 1 and from -1
// backwards, to a file, and tells where it is, in bytes.
func partition(t *testing.T, disk string, n int, file string) (start, size int64) {
	t.Helper()
	var table struct {
		Partitiontable struct{ Partitions []struct{ Start, Size int64 } }
	}
	out, err := exec.Command("sfdisk", "--json", disk).Output() // It may warn of what is not at the end.
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
	if err := os.Truncate(file, p.Size*512); err != nil { // dd leaves zeros at the end away.
		t.Fatal(err)
	}
	return p.Start * 512, p.Size * 512
}
