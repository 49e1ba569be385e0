package readfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Only regular files within the limit are read, and a FIFO does not block.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	const limit = 64 << 10
	for _, err := range []error{
		os.WriteFile(in("full"), make([]byte, limit), 0o600),
		os.WriteFile(in("long"), make([]byte, limit+1), 0o600),
		os.WriteFile(in("empty"), nil, 0o600),
		os.Symlink("full", in("link")),
		os.Symlink("/dev/zero", in("zero")),
		os.Symlink("loop", in("loop")),
		unix.Mkfifo(in("fifo"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		path             string
		limited, without string // errors; empty: read
	}{
		{in("full"), "", ""},
		{in("empty"), "", ""},
		{in("link"), "", "symbolic link"},
		{in("long"), "larger than 64 KiB", "larger than 64 KiB"},
		{in("none"), "no such file", "no such file"},
		{in("loop"), "too many levels", "symbolic link"},
		{in("zero"), "not a regular file", "symbolic link"},
		{in("fifo"), "not a regular file", "not a regular file"},
		{dir, "not a regular file", "not a regular file"},
		{"/dev/zero", "not a regular file", "not a regular file"},
	} {
		for name, f := range map[string]struct {
			read func(string, int64) ([]byte, error)
			want string
		}{"Limited": {Limited, test.limited}, "NoFollow": {NoFollow, test.without}} {
			data, err := f.read(test.path, limit)
			switch {
			case f.want == "" && (err != nil || data == nil):
				t.Errorf("%s(%s): %d bytes, %v", name, test.path, len(data), err)
			case f.want != "" && (err == nil || data != nil || !strings.HasPrefix(err.Error(), "cannot read "+test.path+": ") ||
				!strings.Contains(err.Error(), f.want) || strings.Count(err.Error(), test.path) != 1):
				t.Errorf("%s(%s): %d bytes, %v; want %q", name, test.path, len(data), err, f.want)
			}
		}
	}
	if _, err := Limited(in("none"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1: "1 bytes", 1000: "1000 bytes", 64 << 10: "64 KiB", 4 << 20: "4 MiB", 1<<20 + 1: "1048577 bytes"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var got map[string]int
	if known, err := JSON(path, 100, &got); known || err != nil {
		t.Errorf("a missing file: %v, %v", known, err)
	}
	for text, want := range map[string]string{
		`{"a":1}`:                "",
		`{"a":`:                  "cannot read " + path + ": unexpected end of JSON input",
		strings.Repeat(" ", 101): "cannot read " + path + ": larger than 100 bytes",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got = nil
		known, err := JSON(path, 100, &got)
		if !known || (err == nil) != (want == "") || err != nil && err.Error() != want || err == nil && got["a"] != 1 {
			t.Errorf("%q: %v, %v, %v; want %q", text, got, known, err, want)
		}
	}
}

// Open opens regular files only, waits for nothing, and follows no link.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	paths := map[string]error{
		"file": os.WriteFile(dir+"/file", []byte("text"), 0o600),
		"link": os.Symlink("file", dir+"/link"),
		"fifo": unix.Mkfifo(dir+"/fifo", 0o600),
		"dir":  os.Mkdir(dir+"/dir", 0o700),
		"none": nil,
	}
	for name, err := range paths {
		if err != nil {
			t.Fatal(err)
		}
		f, info, err := Open(dir+"/"+name, os.O_RDONLY)
		switch name {
		case "file":
			if err != nil || info.Size() != 4 {
				t.Errorf("%s: %v, %v", name, info, err)
			} else {
				f.Close()
			}
		case "none":
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		default:
			if !errors.Is(err, ErrNotRegular) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
