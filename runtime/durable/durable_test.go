package durable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file or link is replaced as a whole, also when an earlier change was interrupted.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	for _, text := range []string{"a long first text", "second"} {
		if err := os.WriteFile(file+temporary, []byte("left by an interrupted change"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("interrupted", link+temporary); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(file, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := Symlink(text, link); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil || string(data) != text {
			t.Errorf("the file holds %q (%v), want %q", data, err, text)
		}
		if target, err := os.Readlink(link); err != nil || target != text {
			t.Errorf("the link leads to %q (%v), want %q", target, err, text)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
			t.Errorf("the folder has %v (%v), want the file and the link", entries, err)
		}
	}
}

// A change that fails leaves what was there, and its error names the file.
func TestFailure(t *testing.T) {
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(inTheWay, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"WriteFile": WriteFile(inTheWay, nil, 0o644),
		"Symlink":   Symlink("x", inTheWay),
		"Remove":    Remove(inTheWay),
		"Rename":    Rename(filepath.Join(dir, "missing"), inTheWay),
		"MkdirAll":  MkdirAll("/proc/none/folder", 0o755),
	} {
		if err == nil || !strings.Contains(err.Error(), "/") {
			t.Errorf("%s: %v, want an error that names the file", what, err)
		}
	}
	if _, err := os.Stat(filepath.Join(inTheWay, "full")); err != nil {
		t.Error(err)
	}
}

// What does not exist needs no removal, and folders are made with those above them.
func TestRemoveAndMkdirAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a/b/c")
	for range 2 {
		if err := MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has %v (%v), want mode 0700", info, err)
	}
	if err := Remove(filepath.Join(dir, "missing")); err != nil {
		t.Error(err)
	}
}

// Replace replaces a whole file, or leaves the one before.
func TestReplaceVolatile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, text := range []string{"a long first text", "second"} {
		if err := Replace(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != text {
			t.Errorf("the file holds %q (%v), want %q", data, err, text)
		}
	}
	full := filepath.Join(t.TempDir(), "folder")
	if err := os.MkdirAll(filepath.Join(full, "file"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Replace(full, nil, 0o644); err == nil || !strings.HasPrefix(err.Error(), "cannot write "+full+": ") {
		t.Errorf("a folder is replaced: %v", err)
	}
}
