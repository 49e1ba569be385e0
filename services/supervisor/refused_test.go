package supervisor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
)

// refusedBundle is for newRig: it sets a sysctl of the network without a network namespace.
const refusedBundle = `},"linux":{"sysctl":{"net.ipv4.ip_forward":"1"}`

func (f *fake) setRefuse(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

// tried returns how often Create was called.
func (f *fake) tried() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tries
}

func TestRefusedConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.refuse = errors.New("the runtime's words")
		r := newRig(t, f, map[string]string{"a": refusedBundle})
		defer r.stop()
		v := r.is(t, "a", "backoff", 1)
		for _, want := range []string{"a/config.json: linux.sysctl: net.ipv4.ip_forward: ", "the runtime's words"} {
			if !strings.Contains(v.Error, want) {
				t.Errorf("status %q lacks %q", v.Error, want)
			}
		}
		// It is tried again after the largest delay, and not reported again.
		time.Sleep(30*time.Second - time.Millisecond)
		if n := r.tried(); n != 1 {
			t.Errorf("%d tries within the largest delay", n)
		}
		time.Sleep(2 * time.Millisecond)
		r.is(t, "a", "backoff", 2)
		if n := r.tried(); n != 2 {
			t.Errorf("%d tries after the largest delay", n)
		}
		if events := r.results(timeline.Service); len(events) != 1 {
			t.Errorf("events %q", events)
		}
		// An order tries immediately, and its answer says why that failed.
		answer := r.Control(t.Context(), control.Request{Verb: control.Start, Names: []string{"a"}})
		if answer.Code != control.CodeFailed || !strings.Contains(answer.Error, "linux.sysctl") || r.tried() != 3 {
			t.Errorf("start: %+v after %d tries", answer, r.tried())
		}
		// A change of the bundle starts it too.
		f.setRefuse(nil)
		path := filepath.Join(r.options.Dir, "a", "config.json")
		if err := os.WriteFile(path, []byte(`{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"}}`), 0o644); err != nil {
			t.Fatal(err)
		}
		r.bundleChanges <- struct{}{}
		if v := r.is(t, "a", "running", 3); v.Error != "" {
			t.Errorf("status %+v", v)
		}
	})
}

// A bundle that cannot be loaded is tried again when it is changed.
func TestBrokenBundleIsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": brokenBundle})
		defer r.stop()
		r.is(t, "a", "failed", 0)
		path := filepath.Join(r.options.Dir, "a", "config.json")
		if err := os.WriteFile(path, []byte(`{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"}}`), 0o644); err != nil {
			t.Fatal(err)
		}
		r.bundleChanges <- struct{}{}
		r.is(t, "a", "running", 0)
	})
}

// A failure that may pass, such as a missing mount, is tried again soon, and reported once
// while only numbers in it change.
func TestPassingFailureIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.refuse = errors.New("no such file: fd/11")
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		r.is(t, "a", "backoff", 1)
		f.setRefuse(errors.New("no such file: fd/12"))
		time.Sleep(350 * time.Millisecond)
		r.is(t, "a", "backoff", 3)
		if events := r.results(timeline.Service); len(events) != 1 || r.tried() != 3 {
			t.Errorf("events %q after %d tries", events, r.tried())
		}
		f.setRefuse(errors.New("no space"))
		time.Sleep(time.Second)
		r.is(t, "a", "backoff", 4)
		if events := r.results(timeline.Service); len(events) != 2 || !strings.Contains(events[1], "no space") {
			t.Errorf("events %q", events)
		}
	})
}

// A bundle that was started by a runtime with other rules is not called refused when
// another start fails.
func TestProvenConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := newRig(t, f, map[string]string{"a": refusedBundle})
		defer r.stop()
		r.is(t, "a", "running", 0)
		f.setRefuse(errors.New("out of memory"))
		r.task("a") <- 1
		time.Sleep(350 * time.Millisecond)
		if v := r.is(t, "a", "backoff", 3); v.Error != "failed: out of memory" || r.tried() < 3 {
			t.Errorf("status %+v after %d tries", v, r.tried())
		}
	})
}

// A change is noticed with and without inotify, also when it precedes the watch.
func TestBundleChanged(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "next"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "config.json")); err != nil {
			t.Fatal(err)
		}
	}
	write("{")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if changed, err := bundleChanged(ctx, dir); changed || err != nil {
		t.Errorf("given up: %v, %v", changed, err)
	}
	done := make(chan bool, 1)
	go func() {
		changed, err := bundleChanged(t.Context(), dir)
		done <- changed && err == nil
	}()
	for end := time.After(time.Minute); ; {
		write(`{"process":{"args":["x"]}}`) // Until it is watched.
		select {
		case ok := <-done:
			if !ok {
				t.Error("no change was seen")
			}
		case <-time.After(10 * time.Millisecond):
			continue
		case <-end:
			t.Fatal("no change was seen")
		}
		break
	}
	write(`{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"}}`)
	if changed, err := bundleChanged(t.Context(), dir); !changed || err != nil {
		t.Errorf("changed before: %v, %v", changed, err)
	}
	if _, err := bundleChanged(t.Context(), filepath.Join(dir, "none")); err == nil {
		t.Error("no error for a missing folder")
	}
}
