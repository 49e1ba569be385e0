package debian

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/progress"
	"keelson/testvm/image/tree"
	"keelson/testvm/tier"
)

// archive works in the user's own cache, so that packages are downloaded once.
func archive(t *testing.T, arch string) *Archive {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Debian's archive; left out by -short")
	}
	tier.Tool(t, "apt-get", "apt")
	tier.Tool(t, "dpkg-deb", "dpkg")
	dir, err := cache.Dir()
	if err != nil {
		t.Fatal(err)
	}
	a := &Archive{Arch: arch, CacheDir: dir, Progress: progress.Discard}
	if _, err := a.Resolve(t.Context(), []string{"busybox-static"}); err != nil {
		tier.Skip(t, "needs Debian's archive: %v", err)
	}
	return a
}

func TestRootsAreCompleteAndSmall(t *testing.T) {
	const mb = 1 << 20
	tests := []struct {
		arch    string
		asked   []string
		maxMB   int64
		program string
	}{
		{"amd64", []string{"redis-server"}, 25, "usr/bin/redis-server"},
		{"amd64", []string{"nginx"}, 20, "usr/sbin/nginx"},
		{"amd64", []string{"dropbear"}, 10, "usr/sbin/dropbear"},
		{"amd64", []string{"chrony"}, 20, "usr/sbin/chronyd"},
		{"amd64", []string{"busybox-static"}, 3, "usr/bin/busybox"},
		{"amd64", []string{"e2fsprogs", "busybox-static"}, 12, "usr/sbin/mke2fs"},
		{"arm64", []string{"redis-server"}, 25, "usr/bin/redis-server"},
	}
	for _, tt := range tests {
		t.Run(tt.arch+" "+strings.Join(tt.asked, ","), func(t *testing.T) {
			root, _, err := archive(t, tt.arch).Root(t.Context(), tt.asked)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d entries, %.1f MB", root.Len(), float64(root.Size())/mb)
			if root.Size() > tt.maxMB*mb {
				t.Errorf("%d bytes are more than %d MB", root.Size(), tt.maxMB)
				largest(t, root)
			}
			for _, f := range []string{tt.program, "etc/passwd", "etc/group"} {
				at, err := root.Resolve(f)
				if e, ok := root.Get(at); err != nil || !ok || e.Type != tree.File {
					t.Errorf("%s is missing", f)
				}
			}
			for _, miss := range missingLibraries(root) {
				t.Error(miss)
			}
		})
	}
}

func largest(t *testing.T, root *tree.Tree) {
	entries := root.Entries()
	slices.SortFunc(entries, func(a, b tree.Entry) int { return len(b.Data) - len(a.Data) })
	for _, e := range entries[:min(15, len(entries))] {
		t.Logf("%9d %s", len(e.Data), e.Path)
	}
}

// missingLibraries checks every ELF file: its interpreter and each library it
// names must be in the root.
func missingLibraries(root *tree.Tree) (out []string) {
	names := map[string]bool{}
	for _, e := range root.Entries() {
		names[path.Base(e.Path)] = true
	}
	for _, e := range root.Entries() {
		if e.Type != tree.File || !bytes.HasPrefix(e.Data, []byte(elf.ELFMAG)) {
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(e.Data))
		if err != nil {
			continue
		}
		libs, _ := f.ImportedLibraries()
		if s := f.Section(".interp"); s != nil {
			b, _ := s.Data()
			libs = append(libs, path.Base(strings.TrimRight(string(b), "\x00")))
		}
		for _, l := range libs {
			if !names[l] {
				out = append(out, e.Path+" needs "+l)
			}
		}
	}
	return out
}

func TestRootsRun(t *testing.T) {
	tier.Root(t)
	for _, tt := range []struct {
		pkg  string
		argv []string
		want string
	}{
		{"redis-server", []string{"/usr/bin/redis-server", "--version"}, "Redis server v="},
		{"nginx", []string{"/usr/sbin/nginx", "-v"}, "nginx version"},
		{"dropbear", []string{"/usr/sbin/dropbear", "-V"}, "Dropbear"},
		{"chrony", []string{"/usr/sbin/chronyd", "--version"}, "chronyd"},
		{"busybox-static", []string{"/bin/sh", "-c", "echo a b | awk '{print $2}'"}, "b"},
	} {
		root, _, err := archive(t, "amd64").Root(t.Context(), []string{tt.pkg})
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := root.WriteDir(dir); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), tt.argv[0], tt.argv[1:]...)
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("%s: %v: %s", tt.pkg, err, out)
		}
	}
}

func TestRootComesFromCache(t *testing.T) {
	a := archive(t, "amd64")
	a.store.Dir = t.TempDir()
	first, id, err := a.Root(t.Context(), []string{"busybox-static"})
	if err != nil {
		t.Fatal(err)
	}
	// Neither apt nor dpkg-deb can run now, so the root comes from the cache.
	t.Setenv("PATH", t.TempDir())
	second, id2, err := a.Root(t.Context(), []string{"busybox-static"})
	if err != nil || id != id2 || first.Len() != second.Len() {
		t.Fatalf("second build: %v", err)
	}
	if err := os.WriteFile(filepath.Join(a.store.Dir, id+".tar"), []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Root(t.Context(), []string{"busybox-static"}); err == nil {
		t.Error("a damaged root was used")
	}
}
