package containerd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// KillStarting kills only a containerd that is a child of the given parent.
func TestKillStarting(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string) (end chan error) {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, program, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		end = make(chan error, 1)
		go func() { end <- cmd.Wait() }()
		return end
	}
	containerd, shim := start("containerd"), start("containerd-shim")
	if err := KillStarting("/proc", os.Getppid()); err != nil {
		t.Error(err)
	}
	select {
	case <-containerd:
		t.Fatal("a containerd with another parent was killed")
	case <-time.After(50 * time.Millisecond):
	}
	if err := KillStarting("/proc", os.Getpid()); err != nil {
		t.Error(err)
	}
	<-containerd
	select {
	case <-shim:
		t.Error("a shim was killed")
	case <-time.After(50 * time.Millisecond):
	}
}

func FuzzIsStarting(f *testing.F) {
	f.Add("Name:\tcontainerd\nState:\tT (stopped)\nPPid:\t1\n", 1)
	f.Add("Name:\tcontainerd\n", 0)
	f.Add("PPid", -1)
	f.Fuzz(func(t *testing.T, status string, parent int) {
		if isStarting(status, parent) && (!strings.Contains(status, daemonName) || isStarting(status, parent+1)) {
			t.Errorf("%q: the status of a containerd with parent %d", status, parent)
		}
		// The first line of a field counts.
		if own := fmt.Sprintf("Name:\t%s\nPPid:\t%d\n", daemonName, parent) + status; !isStarting(own, parent) || isStarting(own, parent+1) {
			t.Errorf("%q: not only the status of a containerd with parent %d", own, parent)
		}
	})
}
