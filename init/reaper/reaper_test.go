package reaper

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// start runs the test again in a new process, as a subreaper, because a Reaper must not
// have other children. There it returns a running Reaper; in the outer process, nil.
func start(t *testing.T) *Reaper {
	t.Helper()
	const mark = "KEELSON_TEST_REAPER"
	if os.Getenv(mark) != t.Name() {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), mark+"="+t.Name())
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("as a subreaper: %v\n%s", err, out)
		}
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	r := New(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return r
}

func shell(script string) Command {
	return Command{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}}
}

func TestStatus(t *testing.T) {
	r := start(t)
	if r == nil {
		return
	}
	for script, want := range map[string]string{"exit 0": "exited 0", "exit 3": "exited 3", "kill -SEGV $$": "killed by SIGSEGV"} {
		child, err := r.Start(shell(script))
		if err != nil {
			t.Fatal(err)
		}
		status, err := child.Wait(t.Context())
		if err != nil || status.String() != want || status.Success() != (want == "exited 0") || child.Status() != status {
			t.Errorf("%s: %s, %v; want %s", script, status, err, want)
		}
		if err := child.Signal(syscall.SIGKILL); err != nil {
			t.Errorf("signal to a reaped child: %v", err)
		}
	}
	if _, err := r.Start(Command{Path: "/does/not/exist", Args: []string{"x"}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing program: %v", err)
	}
}

func TestSignalAndTimeout(t *testing.T) {
	r := start(t)
	if r == nil {
		return
	}
	child, err := r.Start(shell("exec sleep 60"))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := child.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: %v", err)
	}
	if err := r.WaitAlone(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitAlone: %v", err)
	}
	if err := child.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if status, err := child.Wait(t.Context()); err != nil || status.String() != "killed by SIGTERM" {
		t.Errorf("%s, %v", status, err)
	}
	for range 2 {
		if err := r.WaitAlone(t.Context()); err != nil {
			t.Errorf("alone: %v", err)
		}
	}
}

// TestShortLivedChildrenAmongOrphans starts children that end immediately, from several
// goroutines, while thousands of orphans arrive.
func TestShortLivedChildrenAmongOrphans(t *testing.T) {
	r := start(t)
	if r == nil {
		return
	}
	parent, err := r.Start(shell("i=0; while [ $i -lt 4000 ]; do (: &) ; i=$((i+1)); done"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				child, err := r.Start(Command{Path: "/bin/true", Args: []string{"true"}})
				if err != nil {
					t.Error(err)
					return
				}
				if status, err := child.Wait(t.Context()); err != nil || !status.Success() {
					t.Errorf("true: %s, %v", status, err)
				}
			}
		})
	}
	wg.Wait()
	if status, err := parent.Wait(t.Context()); err != nil || !status.Success() {
		t.Errorf("parent of the orphans: %s, %v", status, err)
	}
	if err := r.WaitAlone(t.Context()); err != nil {
		t.Error(err)
	}
	if len(r.children) != 0 {
		t.Errorf("%d children are still registered", len(r.children))
	}
}
