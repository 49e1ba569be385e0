package psi

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

func TestMain(m *testing.M) { nstest.Main(m) }

func TestParseThreshold(t *testing.T) {
	for text, want := range map[string]Threshold{
		"on": usual, "off": {}, "30%": {30, 4 * time.Second}, "99%/10s": {99, 10 * time.Second}, "1%/500ms": {1, 500 * time.Millisecond},
	} {
		if got, err := ParseThreshold(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "yes", "20", "20/5s", "0%", "100%", "-1%", "%", "20%/", "20%/11s", "20%/499ms", "20%/5", "20%/4s/4s", "1e1%"} {
		if got, err := ParseThreshold(text); err == nil || got != (Threshold{}) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestOnCommandLine(t *testing.T) {
	for text, want := range map[string]Threshold{
		"": {}, "quiet keelson.pressure=on console=ttyS0\n": usual, "keelson.pressure=on keelson.pressure=30%": {30, 4 * time.Second},
		"keelson.pressure=on keelson.pressure=off": {}, "keelson.pressure=loud": {}, "keelson.pressure": {}, "quiet -- keelson.pressure=on": {},
	} {
		if got := OnCommandLine(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzParseThreshold(f *testing.F) {
	f.Add("20%/4s")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseThreshold(text)
		if err != nil || got == (Threshold{}) {
			return
		}
		if again, err := ParseThreshold(got.String()); err != nil || again != got {
			t.Errorf("%q: %v, %v: %v", text, got, again, err)
		}
	})
}

func TestOrder(t *testing.T) {
	if got := usual.order(); got != "full 800000 4000000\x00" {
		t.Errorf("%q", got)
	}
}

func TestNoPressure(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "memory"), usual); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

// open sets a threshold. It takes a kernel that measures, and before Linux 6.5 or with a window like these, root.
func open(t *testing.T, file string, threshold Threshold) *Trigger {
	t.Helper()
	tier.Root(t)
	trigger, err := Open(file, threshold)
	if errors.Is(err, ErrUnknown) {
		tier.Skip(t, "root tier: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := trigger.Close(); err != nil {
			t.Error(err)
		}
	})
	return trigger
}

// Waiting ends with its context.
func TestWaitEnds(t *testing.T) {
	trigger := open(t, Memory, Threshold{99, 10 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- trigger.Wait(ctx) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := trigger.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The kernel reports that a cgroup waits for memory, and nothing as long as it does not. Two programs read a file
// that is larger than their limit again and again.
func TestPressure(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		unified, err := os.MkdirTemp("/sys/fs/cgroup", "psi")
		must(t, err)
		limited := limit(t, unified, "8388608")
		trigger := open(t, filepath.Join(unified, "memory.pressure"), Threshold{1, 2 * time.Second}) // Other windows take CAP_SYS_RESOURCE.
		quiet, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := trigger.Wait(quiet); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without any process: %v", err)
		}
		file := filepath.Join(t.TempDir(), "file")
		writeUncached(t, file, 64<<20)
		reader := exec.Command("/bin/sh", "-c", "for dir; do echo $$ >$dir/cgroup.procs; done; while :; do cat $FILE >/dev/null; done", "sh", unified, limited)
		reader.Env, reader.SysProcAttr = []string{"FILE=" + file, "PATH=" + os.Getenv("PATH")}, &unix.SysProcAttr{Setpgid: true}
		reader.Stderr = os.Stderr
		must(t, reader.Start())
		defer func() {
			_ = unix.Kill(-reader.Process.Pid, unix.SIGKILL)
			_ = reader.Wait() // It was killed.
		}()
		for range 2 { // It goes on.
			limit, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			must(t, trigger.Wait(limit))
		}
	})
}

// writeUncached writes a file of which nothing is in memory: what is there counts for whoever has read it first.
func writeUncached(t *testing.T, file string, size int) {
	t.Helper()
	f, err := os.Create(file)
	must(t, err)
	_, err = f.Write(bytes.Repeat([]byte("x"), size))
	must(t, errors.Join(err, f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close()))
}

// limit limits the memory of a cgroup, and returns it or one of version 1 with the same limit, where that has
// the controller.
func limit(t *testing.T, unified, bytes string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(unified, "memory.max"), []byte(bytes), 0); err == nil {
		return unified
	}
	if os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0) == nil {
		must(t, os.WriteFile(filepath.Join(unified, "memory.max"), []byte(bytes), 0))
		return unified
	}
	root := t.TempDir()
	if err := unix.Mount("memory", root, "cgroup", 0, "memory"); err != nil {
		tier.Skip(t, "root tier: no controller for memory: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(root, unix.MNT_DETACH)) })
	dir, err := os.MkdirTemp(root, "psi")
	must(t, err)
	t.Cleanup(func() {
		for end := time.Now().Add(time.Minute); os.Remove(dir) != nil && time.Now().Before(end); { // Until the processes have ended.
			time.Sleep(10 * time.Millisecond)
		}
	})
	must(t, os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte(bytes), 0))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
