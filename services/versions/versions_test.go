package versions

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
)

// version returns the n-th version of the tests.
func version(t testing.TB, n int) Target {
	t.Helper()
	v, err := TargetOf(fmt.Sprintf("sha256:%064x", n))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// put makes version n of service web in s.
func put(t testing.TB, s *Store, n int) Target {
	t.Helper()
	staged, err := s.Stage("web")
	if err != nil {
		t.Fatal(err)
	}
	meta := fmt.Sprintf(`{"digest":%q,"architecture":"amd64","size":1}`, version(t, n).Digest())
	if err := os.WriteFile(filepath.Join(staged, artifact.File), []byte(meta), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep("web", staged, version(t, n)); err != nil {
		t.Fatal(err)
	}
	return version(t, n)
}

// swap commits a swap of web to a target.
func swap(t testing.TB, s *Store, to Target, by string) {
	t.Helper()
	if err := s.Begin("web", to, true, nil, Record{At: time.Unix(1000, 0).UTC(), By: by}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Commit("web"), s.Clean("web")); err != nil {
		t.Fatal(err)
	}
}

// is compares what the store holds of web.
func is(t testing.TB, s *Store, current, previous Target) {
	t.Helper()
	state, err := s.Read("web")
	if err != nil {
		t.Fatal(err)
	}
	if state.Current != current || state.Previous != previous {
		t.Errorf("current is %q and previous %q, want %q and %q", state.Current, state.Previous, current, previous)
	}
}

// From the image's bundle to two versions, back, and to no service.
func TestSwaps(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), "services"))
	is(t, s, Image, "")
	one := put(t, s, 1)
	swap(t, s, one, "alice")
	is(t, s, one, Image)
	two := put(t, s, 2)
	swap(t, s, two, "bob")
	is(t, s, two, one)
	swap(t, s, one, "carol") // back
	is(t, s, one, two)
	swap(t, s, Removed, "dave")
	is(t, s, Removed, one)
	state, err := s.Read("web")
	if err != nil || state.Record.By != "dave" || state.Record.At.Unix() != 1000 {
		t.Errorf("the record is %+v (%v), want that of dave", state.Record, err)
	}
	if names, err := s.Names(); err != nil || len(names) != 1 || names[0] != "web" {
		t.Errorf("the store has %q (%v), want web", names, err)
	}
	if _, err := os.Stat(s.Folder("web", two)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("version 2 is neither current nor previous, but is there (%v)", err)
	}
	if meta, err := s.Meta("web", one); err != nil || meta.Digest != one.Digest() {
		t.Errorf("version 1 is %+v (%v)", meta, err)
	}
	if _, err := s.Meta("web", two); err == nil || !strings.Contains(err.Error(), "has no version sha256:0000") {
		t.Errorf("a version that is gone: %v", err)
	}
}

// Garbage is removed only when a swap is committed, except what was being staged.
func TestGarbage(t *testing.T) {
	s := New(t.TempDir())
	one, two, three := put(t, s, 1), put(t, s, 2), put(t, s, 3)
	staged, err := s.Stage("web")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Begin("web", one, true, nil, Record{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Abort("web", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recover("web"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(staged); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an interrupted staging was not removed: %v", err)
	}
	for _, v := range []Target{one, two, three} {
		if _, err := os.Stat(s.Folder("web", v)); err != nil {
			t.Errorf("no swap was committed: %v", err)
		}
	}
	swap(t, s, two, "")
	for v, want := range map[Target]bool{one: false, two: true, three: false} {
		if _, err := os.Stat(s.Folder("web", v)); (err == nil) != want {
			t.Errorf("version %s is there: %v, want %v", v, err == nil, want)
		}
	}
}

// A version that was refused before its swap began is removed, and no other.
func TestRemoveUnused(t *testing.T) {
	s := New(t.TempDir())
	one := put(t, s, 1)
	swap(t, s, one, "")
	two, three := put(t, s, 2), put(t, s, 3)
	if err := s.Begin("web", two, true, nil, Record{}); err != nil {
		t.Fatal(err)
	}
	for v, gone := range map[Target]bool{one: false, two: false, three: true, Image: false, Removed: false} {
		if err := s.RemoveUnused("web", v); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Folder("web", v)); v.IsVersion() && errors.Is(err, fs.ErrNotExist) != gone {
			t.Errorf("version %s: %v, want gone: %v", v, err, gone)
		}
	}
}

// A version that failed is remembered until it is forgiven, and only so many are.
func TestRejected(t *testing.T) {
	s := New(t.TempDir())
	for n := range largestRejected + 3 {
		v := put(t, s, n)
		if err := s.Begin("web", v, true, nil, Record{}); err != nil {
			t.Fatal(err)
		}
		if err := s.Abort("web", fmt.Sprintf("reason %d", n)); err != nil {
			t.Fatal(err)
		}
		if why, err := s.Rejected("web", v); err != nil || why != fmt.Sprintf("reason %d", n) {
			t.Fatalf("version %d was rejected for %q (%v)", n, why, err)
		}
	}
	if all, err := os.ReadFile(s.path("web", rejectedFile)); err != nil || strings.Count(string(all), "reason") != largestRejected {
		t.Errorf("%d versions are remembered (%v), want %d", strings.Count(string(all), "reason"), err, largestRejected)
	}
	last := version(t, largestRejected+2)
	if err := s.Forgive("web", last); err != nil {
		t.Fatal(err)
	}
	if why, err := s.Rejected("web", last); err != nil || why != "" {
		t.Errorf("a version that was forgiven is rejected for %q (%v)", why, err)
	}
}

// Links and files that others have damaged give an error that names them.
func TestDamaged(t *testing.T) {
	for name, damage := range map[string]func(s *Store) error{
		currentLink:  func(s *Store) error { return os.Symlink("../../etc", s.path("web", currentLink)) },
		previousLink: func(s *Store) error { return os.WriteFile(s.path("web", previousLink), nil, 0o600) },
		recordFile:   func(s *Store) error { return os.WriteFile(s.path("web", recordFile), []byte("{"), 0o600) },
		trialFile:    func(s *Store) error { return os.WriteFile(s.path("web", trialFile), []byte(`{"next":".."}`), 0o600) },
		rejectedFile: func(s *Store) error { return os.Mkdir(s.path("web", rejectedFile), 0o700) },
	} {
		s := New(t.TempDir())
		one := put(t, s, 1)
		if err := damage(s); err != nil {
			t.Fatal(err)
		}
		_, err := s.Read("web")
		if _, err2 := s.Rejected("web", one); err == nil {
			err = err2
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is damaged: %v, want an error that names it", name, err)
		}
	}
}

func FuzzTargetOf(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("0", 64))
	f.Add("sha256:../" + strings.Repeat("0", 61))
	f.Add("sha512:" + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, d string) {
		v, err := TargetOf(d)
		if err != nil {
			return
		}
		for _, v := range []Target{v, v.mergedWith([]byte(d), nil)} {
			if !v.IsVersion() || v.Digest() != d || filepath.Base(string(v)) != string(v) {
				t.Errorf("%q is version %q with digest %q", d, v, v.Digest())
			}
		}
	})
}

// LoadCurrent reads the version that is current, or the image's.
func TestLoadCurrent(t *testing.T) {
	dir := t.TempDir()
	s, images := New(filepath.Join(dir, "store")), filepath.Join(dir, "images")
	write := func(dir, command string) {
		t.Helper()
		text := fmt.Sprintf(`{"process":{"args":[%q]},"root":{"path":"rootfs"}}`, command)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, bundle.ConfigFile), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(name, command string) {
		t.Helper()
		b, err := s.LoadCurrent(images, name)
		if err != nil || (b == nil) != (command == "") || b != nil && (b.Spec.Process.Args[0] != command || b.Name != name) {
			t.Errorf("%s: %+v, %v; want %q", name, b, err, command)
		}
	}
	want("web", "")
	write(filepath.Join(images, "web"), "image")
	want("web", "image")
	first := put(t, s, 1)
	write(s.Folder("web", first), "first")
	swap(t, s, first, "x")
	want("web", "first")
	want("other", "")
	swap(t, s, Removed, "x")
	want("web", "")
	write(filepath.Join(images, "bad"), "")
	if err := os.WriteFile(filepath.Join(images, "bad", bundle.ConfigFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := s.LoadCurrent(images, "bad"); err == nil {
		t.Errorf("no error for a bundle that cannot be read: %+v", b)
	}
}

// The root of a version is an erofs image only with its root hash.
func TestLoadImage(t *testing.T) {
	dir, digest := t.TempDir(), "sha256:"+strings.Repeat("0a", 32)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(bundle.ConfigFile, `{"process":{"args":["x"]},"root":{"path":"rootfs"}}`)
	write(artifact.File, fmt.Sprintf(`{"digest":%q,"rootHash":"0b","verityOffset":4096,"writable":true}`, digest))
	if b, err := Load(dir, "web"); err != nil || b.Image != nil {
		t.Errorf("a version without an image: %+v, %v", b, err)
	}
	write(artifact.RootErofs, "")
	long := strings.Repeat("x", 200)
	b, err := Load(dir, long)
	if err != nil {
		t.Fatal(err)
	}
	want := bundle.Image{
		File: filepath.Join(dir, artifact.RootErofs), Target: filepath.Join(dir, artifact.RootDir), RootHash: "0b", HashOffset: 4096,
		Name: long[:60] + "-" + strings.Repeat("0a", 20),
	}
	if !reflect.DeepEqual(*b.Image, want) || len(b.Runtime.Mounts) != 3 || b.Runtime.Mounts[2].Type != "overlay" {
		t.Errorf("image %+v, mounts %+v; want %+v below an overlay", b.Image, b.Runtime.Mounts, want)
	}
	for name, meta := range map[string]string{"no root hash": fmt.Sprintf(`{"digest":%q}`, digest), "no digest": `{"rootHash":"0b"}`} {
		write(artifact.File, meta)
		if _, err := Load(dir, "web"); err == nil || !strings.Contains(err.Error(), "keelson bundle --root erofs") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
