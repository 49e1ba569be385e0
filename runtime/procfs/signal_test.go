package procfs

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

const withoutHandler = "Name:\tsh\nNSpid:\t4711\t1\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000006\nSigCgt:\t0000000000010002\n"

func TestDropsSignal(t *testing.T) {
	for _, tt := range []struct {
		name, status string
		signal       syscall.Signal
		want         bool
	}{
		{"no handler", withoutHandler, syscall.SIGTERM, true},
		{"handler", withoutHandler, syscall.SIGINT, false},
		{"ignored", withoutHandler, syscall.SIGQUIT, false},
		{"kill", withoutHandler, syscall.SIGKILL, false},
		{"no such process", "", syscall.SIGTERM, false},
		{"not the first", "NSpid:\t4711\t1\t7\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\n", syscall.SIGTERM, false},
		{"namespace of the host", "NSpid:\t4711\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\n", syscall.SIGTERM, false},
		{"blocked", "NSpid:\t4711\t1\nSigBlk:\t4000\nSigIgn:\t0\nSigCgt:\t0\n", syscall.SIGTERM, false},
		{"nonsense", "NSpid:\t4711\t1\nSigBlk:\tx\nSigIgn:\t0\nSigCgt:\t0\n", syscall.SIGTERM, false},
		{"no masks", "NSpid:\t4711\t1\n", syscall.SIGTERM, false},
	} {
		proc := t.TempDir()
		if tt.status != "" {
			put(t, filepath.Join(proc, "4711/status"), tt.status)
		}
		if got := DropsSignal(proc, 4711, tt.signal); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The children of every thread are found.
func TestDescendants(t *testing.T) {
	proc := t.TempDir()
	for path, text := range map[string]string{
		"10/task/10/children": "20 21 ", "10/task/11/children": "22 ",
		"21/task/21/children": "30 ", "22/task/22/children": "", "30/task/30/children": "10 x 1 30",
	} {
		put(t, filepath.Join(proc, path), text)
	}
	if got, want := Descendants(proc, 10), []int{20, 21, 22, 30, 10}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := Descendants(proc, 99); got != nil {
		t.Errorf("of a process that does not exist: %v", got)
	}
}

// A status that cannot be parsed is not taken for a dropped signal.
func FuzzDropsSignal(f *testing.F) {
	f.Add(withoutHandler, 15)
	f.Add("NSpid:\nSigCgt:\n", 1)
	f.Fuzz(func(t *testing.T, status string, signal int) {
		if drops, err := statusDrops(status, syscall.Signal(signal)); drops && err != nil {
			t.Errorf("dropped, and %v", err)
		}
	})
}
