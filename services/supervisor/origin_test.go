package supervisor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/artifact"
	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/task"
	"keelson/services/versions"
)

// placed is an artifact whose root is used where it is until it is copied.
const placed = `"root":"place"`

// startsFrom begins a swap to an artifact in a file, which is removed; the new version runs.
func (o *owner) startsFrom(t *testing.T) <-chan control.Response {
	t.Helper()
	path := filepath.Join(t.TempDir(), "artifact")
	put(t, path, placed)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	o.report(task.Started{PID: 7})
	answer := make(chan control.Response, 1)
	go func() {
		answer <- o.Control(t.Context(), control.Request{Verb: control.Swap, Names: []string{"a"}, Body: file})
	}()
	synctest.Wait()
	if err := errors.Join(file.Close(), os.Remove(path)); err != nil { // The client has gone away.
		t.Fatal(err)
	}
	o.report(task.Ended{})
	o.runs(t, target(t, placed))
	o.report(task.Started{PID: 8})
	return answer
}

// source returns from where the new version would be mounted.
func (o *owner) source() (file *os.File, offset int64) {
	_ = o.ask(func() error {
		file, offset = o.services.byName["a"].trial.Origin.Source()
		return nil
	})
	return file, offset
}

// A version runs from the file of the client until its root is copied and used; then the swap is
// committed.
func TestSwapFromOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		used := false
		var origin *os.File
		o.copied = func(_ context.Context, from *os.File, place artifact.Place, path string) (string, error) {
			origin = from
			text := make([]byte, place.Size)
			if _, err := from.ReadAt(text, place.Offset); err != nil || string(text) != placed[1:3] {
				t.Errorf("the file has %q at %+v, %v", text, place, err)
			}
			if want := filepath.Join(o.versions.Folder("a", target(t, placed)), artifact.RootErofs); path != want {
				t.Errorf("copied to %s, want %s", path, want)
			}
			time.Sleep(time.Minute)
			return rightDigest, nil
		}
		o.useCopy = func() error {
			if state, err := o.versions.Read("a"); err != nil || state.Trial == nil {
				t.Errorf("committed before the copy is used: %+v, %v", state, err)
			}
			if file, _ := o.source(); file != nil {
				t.Error("a mount would still be of the client's file")
			}
			used = true
			return nil
		}
		answer := o.startsFrom(t)
		if file, offset := o.source(); file == nil || offset != 1 {
			t.Errorf("the version would be mounted from %v at %d", file, offset)
		}
		time.Sleep(time.Minute + time.Second)
		want(t, answer, "")
		if !used {
			t.Error("the copy is not used")
		}
		if _, err := origin.Stat(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("the client's file is still open: %v", err)
		}
		o.current(t, "a", target(t, placed), versions.Image)
		o.stop()
	})
}

// If the root cannot be copied, or the copy not be used, or it is another one, the old version is
// restored.
func TestSwapFromOriginFails(t *testing.T) {
	for name, tt := range map[string]struct {
		digest    string
		copy, use error
		reason    string
	}{
		"no room":   {"", errors.New("no space left on device"), nil, "no space left on device"},
		"changed":   {"sha256:bb", nil, nil, "root.erofs has the digest sha256:bb"},
		"no device": {rightDigest, nil, errors.New("cannot set up device-mapper device"), "cannot set up device-mapper device"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOwner(t, "")
				var origin *os.File
				o.copied = func(_ context.Context, from *os.File, _ artifact.Place, _ string) (string, error) {
					origin = from
					return tt.digest, tt.copy
				}
				o.useCopy = func() error { return tt.use }
				answer := o.startsFrom(t)
				time.Sleep(time.Minute)
				o.report(task.Ended{})
				o.is(t, machine.Starting, 3)
				o.runs(t, versions.Image)
				o.report(task.Started{PID: 9})
				want(t, answer, tt.reason)
				if _, err := origin.Stat(); !errors.Is(err, os.ErrClosed) {
					t.Errorf("the client's file is still open: %v", err)
				}
				o.stop()
			})
		})
	}
}
