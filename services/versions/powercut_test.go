package versions

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"keelson/runtime/artifact"
)

// errCut is a power cut.
var errCut = errors.New("power cut")

// cut fails at one operation, before or after its effect, and does nothing from then on.
type cut struct {
	disk
	left  int
	after bool
}

func (c *cut) do(f func() error) error {
	c.left--
	switch {
	case c.left > 0:
		return f()
	case c.left == 0 && c.after:
		_ = f()
	}
	return errCut
}

func (c *cut) WriteFile(path string, data []byte, perm fs.FileMode) error {
	return c.do(func() error { return c.disk.WriteFile(path, data, perm) })
}
func (c *cut) Symlink(target, path string) error {
	return c.do(func() error { return c.disk.Symlink(target, path) })
}
func (c *cut) Rename(from, to string) error {
	return c.do(func() error { return c.disk.Rename(from, to) })
}
func (c *cut) Remove(path string) error { return c.do(func() error { return c.disk.Remove(path) }) }

// RemoveAll removes a part of the folder if the power is cut during it.
func (c *cut) RemoveAll(path string) error {
	return c.do(func() error {
		if c.left == 0 {
			return os.Remove(filepath.Join(path, artifact.File))
		}
		return c.disk.RemoveAll(path)
	})
}

// A power cut at any operation of a swap, a swap that fails, or what follows a power cut,
// leaves the old version or the new one current, previous fits, and all versions are whole.
func TestPowerCuts(t *testing.T) {
	for _, fails := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			for first := 1; ; first++ {
				for second := 1; ; second++ {
					if !powerCuts(t, fails, after, first, second) {
						break
					}
				}
				if !powerCuts(t, fails, after, first, 1000) {
					break
				}
			}
		}
	}
}

// powerCuts cuts the power twice, at the given operations of the swap and of what follows
// it. It reports whether both cuts came.
func powerCuts(t *testing.T, fails, after bool, first, second int) (both bool) {
	t.Helper()
	s := New(t.TempDir())
	one, two := put(t, s, 1), put(t, s, 2)
	swap(t, s, one, "alice")
	two = put(t, s, 2)
	begin := func() error {
		err := s.Begin("web", two, true, nil, Record{By: "bob"})
		if err == nil && fails {
			return s.Abort("web", "bad")
		}
		if err == nil {
			err = s.Commit("web")
		}
		if err == nil {
			err = s.Clean("web")
		}
		return err
	}
	recover := func() error {
		state, err := s.Recover("web")
		if err == nil && state.Trial != nil {
			return s.Abort("web", "")
		}
		return err
	}
	s.ops = &cut{left: first, after: after}
	cut1 := errors.Is(begin(), errCut)
	s.ops = &cut{left: second, after: after}
	cut2 := errors.Is(recover(), errCut)
	s.ops = disk{}
	if err := recover(); err != nil {
		t.Fatalf("cuts at %d and %d: %v", first, second, err)
	}
	state, err := s.Read("web")
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("fails %v, after %v, cuts at %d and %d", fails, after, first, second)
	switch {
	case state.Trial != nil:
		t.Errorf("%s: the trial is still there", name)
	case state.Current == one && state.Previous == Image && state.Record.By == "alice":
	case state.Current == two && state.Previous == one && state.Record.By == "bob" && !fails:
	default:
		t.Errorf("%s: %+v", name, state)
	}
	for _, v := range []Target{state.Current, state.Previous} {
		if _, err := s.Meta("web", v); v.IsVersion() && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	kept, err := filepath.Glob(s.path("web", "sha256-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range kept {
		if _, err := os.Stat(filepath.Join(dir, artifact.File)); err != nil {
			t.Errorf("%s: a version was removed in part: %v", name, err)
		}
	}
	if !cut1 && state.Current != two && !fails {
		t.Errorf("%s: the swap ended without a cut, but is not committed", name)
	}
	return cut1 && cut2
}

// full is a disk without room for files.
type full struct{ disk }

func (full) WriteFile(string, []byte, fs.FileMode) error { return errors.New("no space left") }

// On a full disk a version that fails cannot be remembered, but its swap is given up.
func TestAbortOnAFullDisk(t *testing.T) {
	s := New(t.TempDir())
	one := put(t, s, 1)
	swap(t, s, one, "")
	two := put(t, s, 2)
	if err := s.Begin("web", two, true, nil, Record{}); err != nil {
		t.Fatal(err)
	}
	s.ops = full{}
	if err := s.Abort("web", "bad"); err == nil {
		t.Error("the version is remembered on a full disk")
	}
	s.ops = disk{}
	is(t, s, one, Image)
	swap(t, s, two, "")
	is(t, s, two, one)
}
