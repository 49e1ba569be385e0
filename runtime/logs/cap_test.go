package logs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/testvm/nstest"
)

// A file that is created late and grows fast is kept within its limit, and its writer is
// not disturbed.
func TestCap(t *testing.T) {
	const limit = 64 << 10
	path := filepath.Join(t.TempDir(), "x.log")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Cap(ctx, path, limit) }()
	for range 2 { // The second file replaces the first.
		time.Sleep(20 * time.Millisecond)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			fmt.Fprintf(f, "%s %d\n", strings.Repeat("x", 1000), i)
			time.Sleep(100 * time.Microsecond)
		}
		bounded := func() bool {
			info, err := f.Stat()
			old, olderr := os.Stat(Old(path))
			return err == nil && olderr == nil && info.Size() <= limit/2 && old.Size() <= limit && old.Size() > limit/4
		}
		for deadline := time.Now().Add(time.Minute); !bounded(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the file is not bounded")
			}
		}
		f.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(Old(path))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzCreated(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00x.log\x00\x00\x00"), "x.log")
	f.Fuzz(func(t *testing.T, events []byte, name string) {
		if created(events, name) && len(events) < 16+len(name) {
			t.Error("created is true for events that cannot contain the name")
		}
	})
}

func TestCapWithoutInotify(t *testing.T) { nstest.WithoutInotify(t, "TestCap") }
