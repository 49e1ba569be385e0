package procfs

import (
	"os"
	"slices"
	"strconv"
	"testing"
)

func TestLists(t *testing.T) {
	pids, err := PIDs("/proc")
	if err != nil || !slices.Contains(pids, os.Getpid()) {
		t.Errorf("processes %v, %v", pids, err)
	}
	args, err := ReadArgs("/proc", os.Getpid())
	if err != nil || !slices.Equal(args, os.Args) {
		t.Errorf("arguments %q, %v, want %q", args, err, os.Args)
	}
	status, err := ReadStatus("/proc", os.Getpid())
	if err != nil || StatusField(status, "Pid") != strconv.Itoa(os.Getpid()) {
		t.Errorf("status %q, %v", status, err)
	}
	if _, err := PIDs(t.TempDir() + "/none"); err == nil {
		t.Error("a folder that does not exist has processes")
	}
}
