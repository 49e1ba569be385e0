package tree

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

func put(t *testing.T, tr *Tree, entries ...Entry) {
	t.Helper()
	for _, e := range entries {
		if err := tr.Put(e); err != nil {
			t.Fatal(err)
		}
	}
}

func paths(tr *Tree) (out []string) {
	for _, e := range tr.Entries() {
		out = append(out, string(e.Type)+" "+e.Path)
	}
	return out
}

func TestPut(t *testing.T) {
	tests := []struct {
		name    string
		entries []Entry
		want    []string
	}{
		{"makes parents", []Entry{{Path: "/a/b/c", Type: File}}, []string{"d a", "d a/b", "f a/b/c"}},
		{"follows symlinks", []Entry{{Path: "usr/lib", Type: Dir}, {Path: "lib", Type: Symlink, Link: "usr/lib"}, {Path: "lib/m", Type: File}},
			[]string{"l lib", "d usr", "d usr/lib", "f usr/lib/m"}},
		{"follows absolute symlinks", []Entry{{Path: "var/run", Type: Symlink, Link: "/run"}, {Path: "var/run/x", Type: File}},
			[]string{"d run", "f run/x", "d var", "l var/run"}},
		{"cannot leave the root", []Entry{{Path: "../../etc/x", Type: File}, {Path: "up", Type: Symlink, Link: "../../.."}, {Path: "up/y", Type: File}},
			[]string{"d etc", "f etc/x", "l up", "f y"}},
		{"directory stays", []Entry{{Path: "a", Type: Dir}, {Path: "a", Type: File}}, []string{"d a"}},
		{"symlink to directory stays", []Entry{{Path: "usr/bin", Type: Dir}, {Path: "bin", Type: Symlink, Link: "usr/bin"}, {Path: "bin", Type: Dir}},
			[]string{"l bin", "d usr", "d usr/bin"}},
		{"last wins", []Entry{{Path: "a", Type: File}, {Path: "a", Type: Symlink, Link: "b"}}, []string{"l a"}},
		{"the root itself", []Entry{{Path: "/", Type: Dir}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := New()
			put(t, tr, tt.entries...)
			if d := cmp.Diff(tt.want, paths(tr)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestResolveLoop(t *testing.T) {
	tr := New()
	put(t, tr, Entry{Path: "a", Type: Symlink, Link: "b"}, Entry{Path: "b", Type: Symlink, Link: "a"})
	if err := tr.Put(Entry{Path: "a/x", Type: File}); err == nil {
		t.Error("a symlink loop was followed to an end")
	}
}

func sample(t *testing.T) *Tree {
	tr := New()
	put(t, tr,
		Entry{Path: "dev/null", Type: Char, Mode: 0o666, Major: 1, Minor: 3},
		Entry{Path: "dev/vda", Type: Block, Mode: 0o660, Major: 253, GID: 6},
		Entry{Path: "bin/su", Type: File, Mode: 0o4755, Data: []byte("su")},
		Entry{Path: "tmp", Type: Dir, Mode: 0o1777},
		Entry{Path: "pipe", Type: FIFO, Mode: 0o600, UID: 104, GID: 105},
		Entry{Path: "link", Type: Symlink, Mode: 0o777, Link: "/bin/su"},
		Entry{Path: "containers/a", Type: File, Mode: 0o644, Data: []byte("same")},
		Entry{Path: "containers/b", Type: File, Mode: 0o644, Data: []byte("same")},
		Entry{Path: "containers/c", Type: File, Mode: 0o600, Data: []byte("same")},
		Entry{Path: "containers/empty", Type: File, Mode: 0o600, Data: []byte{}},
	)
	return tr
}

func TestTarRoundTrip(t *testing.T) {
	var buf bytes.Buffer
	want := sample(t)
	if err := want.WriteTar(&buf, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	got := New()
	if err := got.ReadTar(&buf); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Entries(), got.Entries()); d != "" {
		t.Error(d)
	}
}

func TestHardLinksOfTarMayPointForwards(t *testing.T) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	tw.WriteHeader(&tar.Header{Name: "./b", Typeflag: tar.TypeLink, Linkname: "./a"})
	tw.WriteHeader(&tar.Header{Name: "./a", Typeflag: tar.TypeReg, Size: 1, Mode: 0o640})
	tw.Write([]byte("x"))
	tw.Close()
	tr := New()
	if err := tr.ReadTar(&buf); err != nil {
		t.Fatal(err)
	}
	if e, ok := tr.Get("b"); !ok || string(e.Data) != "x" || e.Mode != 0o640 {
		t.Errorf("got %+v", e)
	}
}

func TestCPIO(t *testing.T) {
	entries := sample(t).Entries()
	var buf bytes.Buffer
	share := func(e Entry) bool { return filepath.Dir(e.Path) == "containers" }
	if err := WriteCPIO(&buf, entries, time.Unix(7, 0), share); err != nil {
		t.Fatal(err)
	}
	data := map[int64]string{}
	r := cpio.NewReader(&buf)
	for _, e := range entries {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r)
		if len(body) > 0 {
			data[h.Inode] = string(body)
		}
		if h.Name != e.Path || uint32(h.Mode) != modeBits[e.Type]|e.Mode || h.Uid != e.UID || h.Guid != e.GID || h.ModTime.Unix() != 7 {
			t.Errorf("%s: got %+v", e.Path, h)
		}
		if e.Type == File && data[h.Inode] != string(e.Data) {
			t.Errorf("%s holds %q, want %q", e.Path, data[h.Inode], e.Data)
		}
		if wantLinks := map[string]int{"containers/a": 2, "containers/b": 2}[e.Path]; wantLinks != 0 && h.Links != wantLinks {
			t.Errorf("%s has %d links, want %d", e.Path, h.Links, wantLinks)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last entry: %v", err)
	}
}

func TestFromDir(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "a/b"), 0o755)
	os.WriteFile(filepath.Join(dir, "a/f"), []byte("x"), 0o600)
	os.Chmod(filepath.Join(dir, "a/f"), 0o711)
	os.Symlink("f", filepath.Join(dir, "a/l"))
	tr, err := FromDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"d a", "d a/b", "f a/f", "l a/l"}, paths(tr)); d != "" {
		t.Error(d)
	}
	if e, _ := tr.Get("a/f"); e.Mode != 0o711 || e.UID != 0 {
		t.Errorf("got %+v", e)
	}
	out := t.TempDir()
	if err := tr.WriteDir(out); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(out, "a/l")); string(b) != "x" {
		t.Errorf("written symlink leads to %q", b)
	}
}

func FuzzReadTar(f *testing.F) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	tw.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "../.."})
	tw.WriteHeader(&tar.Header{Name: "a/b", Typeflag: tar.TypeLink, Linkname: "a"})
	tw.Close()
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		tr := New()
		if tr.ReadTar(bytes.NewReader(b)) != nil {
			return
		}
		for _, e := range tr.Entries() {
			if e.Path != Clean(e.Path) || e.Path == "" {
				t.Fatalf("path %q is not clean", e.Path)
			}
		}
	})
}

// Root writes owners, set-id bits and nodes; nothing is written through a symlink that
// leads out.
func TestWriteDirAsRoot(t *testing.T) {
	tier.Root(t)
	dir, outside := t.TempDir(), t.TempDir()
	files := New()
	for _, e := range []Entry{
		{Path: "closed", Type: Dir, Mode: 0o511, UID: 1, GID: 2},
		{Path: "closed/program", Type: File, Mode: 0o4755, UID: 3, GID: 4, Data: []byte("x")},
		{Path: "null", Type: Char, Mode: 0o666, Major: 1, Minor: 3},
		{Path: "disk", Type: Block, Mode: 0o660, GID: 6, Major: 7, Minor: 300},
		{Path: "fifo", Type: FIFO, Mode: 0o600},
		{Path: "link", Type: Symlink, Link: outside, UID: 5, GID: 5},
		{Path: "tmp", Type: Dir, Mode: 0o1777},
	} {
		files.Set(e)
	}
	if err := files.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	for _, want := range files.Entries() {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, want.Path), &st); err != nil {
			t.Fatal(err)
		}
		got := Entry{Path: want.Path, Type: want.Type, Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid), Data: want.Data, Link: want.Link}
		if want.Type == Symlink {
			got.Mode = 0
		}
		if want.Type == Char || want.Type == Block {
			got.Major, got.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	files.Set(Entry{Path: "link/file", Type: File, Mode: 0o644})
	if err := files.WriteDir(t.TempDir()); err == nil {
		t.Error("a file was written through a symlink that leads out of the folder")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside are %v, %v", left, err)
	}
}
