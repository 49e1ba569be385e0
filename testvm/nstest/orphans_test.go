package nstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"keelson/testvm/tier"
)

// A PID namespace ends although a process that entered it has lost its parent.
func TestOrphanInNamespace(t *testing.T) {
	tier.Tool(t, "nsenter", "util-linux")
	Run(t, func(t *testing.T) {
		first := exec.Command("sleep", "1000")
		first.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		entered := filepath.Join(t.TempDir(), "entered")
		enter := exec.Command("nsenter", "-t", strconv.Itoa(first.Process.Pid), "-p", "sh", "-c", `echo >"$0"; exec sleep 1001`, entered)
		if err := enter.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(entered); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the namespace was not entered")
			}
		}
		if err := enter.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = enter.Wait() // It was killed.
		if err := first.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- first.Wait() }()
		select {
		case err := <-ended:
			if err == nil || err.Error() != "signal: killed" {
				t.Errorf("the first process ended: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the namespace has not ended")
		}
	})
}
