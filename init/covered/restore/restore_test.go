package restore

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/covered"
	"keelson/mounts"
	"keelson/testvm/nstest"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// write creates a file and the folders above it.
func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
}

// newRoot makes a new file system with empty Folders the root of this process, which must
// have its own namespaces.
func newRoot(t *testing.T) {
	t.Helper()
	const dir = "/run/root"
	must(t, os.Mkdir(dir, 0o755), mounts.Mount("", dir, "tmpfs", nil), os.Mkdir(dir+"/proc", 0o755))
	for _, d := range covered.Folders() {
		must(t, os.Mkdir(dir+d, 0o755))
	}
	must(t, unix.Chroot(dir), os.Chdir("/"), mounts.Mount("proc", "/proc", "proc", nil))
	t.Setenv("TMPDIR", "/")
}

// cover mounts small file systems on Folders, as init does.
func cover(t *testing.T) {
	t.Helper()
	for _, d := range covered.Folders() {
		must(t, mounts.Mount("", d, "tmpfs", []string{"size=1m,nr_inodes=200"}))
	}
	must(t, os.Mkdir(covered.Own, 0o755))
}

func wantFound(t *testing.T, want ...string) {
	t.Helper()
	if got := covered.Find(covered.Folders(), false); !slices.Equal(got, want) {
		t.Errorf("covered: %q, want %q", got, want)
	}
}

// Files of all types are restored with all their attributes.
func TestRestore(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		newRoot(t)
		wantFound(t)
		write(t, covered.Own+"/unpacking", "mark")
		wantFound(t)
		stamp := time.Unix(1234567890, 0)
		write(t, "/var/lib/app/file", "text")
		must(t, os.Chown("/var/lib/app/file", 12, 34), os.Chmod("/var/lib/app/file", 0o640|fs.ModeSetgid))
		must(t, unix.Setxattr("/var/lib/app/file", "trusted.test", []byte("value"), 0))
		must(t, os.Chtimes("/var/lib/app/file", stamp, stamp))
		must(t, os.Link("/var/lib/app/file", "/var/lib/app/second"))
		must(t, os.Symlink("/nowhere", "/var/lib/app/link"), os.Lchown("/var/lib/app/link", 5, 6))
		must(t, unix.Mkfifo("/run/fifo", 0o622), unix.Mknod("/tmp/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(t, os.Mkdir("/var/empty dir", 0o755), os.Chown("/var/empty dir", 7, 8), os.Chmod("/var/empty dir", 0o770|fs.ModeSticky), os.Chtimes("/var/empty dir", stamp, stamp))
		must(t, os.Chmod("/var/lib", 0o700)) // A folder that init makes has its own mode.
		wantFound(t, "/run", "/tmp", "/var")
		before := describe(t, "/var/lib/app", "/run/fifo", "/tmp/null", "/var/empty dir")
		cover(t)
		wantFound(t)
		must(t, os.Mkdir("/var/lib", 0o755), unix.Chmod("/var/lib", 0o711))
		report, err := Files(t.Context(), covered.Folders())
		must(t, err)
		if len(report.Failed)+len(report.Kept) > 0 || report.Copied != 7 {
			t.Errorf("got %+v", report)
		}
		if after := describe(t, "/var/lib/app", "/run/fifo", "/tmp/null", "/var/empty dir"); !maps.Equal(before, after) {
			t.Errorf("got  %v\nwant %v", after, before)
		}
		if st, err := os.Stat("/var/lib"); err != nil || st.Mode().Perm() != 0o711 {
			t.Errorf("an existing folder was changed: %v, %v", st, err)
		}
		if _, err := os.Stat(covered.Own + "/unpacking"); err == nil {
			t.Error("the marker file of an initramfs was copied")
		}
		if left, err := os.ReadDir(covered.Own); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

// describe returns the type, content and attributes of files as text, by path.
func describe(t *testing.T, paths ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, top := range paths {
		must(t, filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var st unix.Stat_t
			must(t, unix.Lstat(path, &st))
			text := fmt.Sprintf("%o %d:%d links %d device %x", st.Mode, st.Uid, st.Gid, st.Nlink, st.Rdev)
			switch st.Mode & unix.S_IFMT {
			case unix.S_IFREG:
				data, err := os.ReadFile(path)
				must(t, err)
				xattr := make([]byte, 100)
				n, err := unix.Getxattr(path, "trusted.test", xattr)
				must(t, err)
				text += fmt.Sprintf(" %q %q %d", data, xattr[:n], st.Mtim.Sec)
			case unix.S_IFLNK:
				to, err := os.Readlink(path)
				must(t, err)
				text += " " + to
			case unix.S_IFDIR:
				if path != "/var/lib/app" { // Its files are created after it.
					text += fmt.Sprintf(" %d", st.Mtim.Sec)
				}
			}
			found[path] = text
			return nil
		}))
	}
	return found
}

// Existing files stay, files for which there is no room are left out, and all others are
// restored.
func TestRestoreExistingAndFull(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		newRoot(t)
		write(t, "/var/a", "image")
		write(t, "/var/lock", "image")
		write(t, "/var/run/pid", "1")
		write(t, "/var/big", strings.Repeat("x", 600<<10))
		write(t, "/var/half", strings.Repeat("x", 300<<10))
		write(t, "/var/z", "image")
		for i := range 120 {
			write(t, fmt.Sprintf("/tmp/%d", i), "x")
		}
		cover(t)
		must(t, os.WriteFile("/var/a", []byte("own"), 0o600), os.Mkdir("/var/lock", 0o755), os.Symlink("/run", "/var/run"))
		report, err := Files(t.Context(), append(covered.Folders(), "/proc"))
		must(t, err)
		if !slices.Equal(report.Kept, []string{"/var/a", "/var/lock"}) {
			t.Errorf("kept: %q", report.Kept)
		}
		failed := map[string]int{}
		for _, f := range report.Failed {
			failed[filepath.Dir(f.Path)]++
			if !strings.Contains(f.Err.Error(), "no room") {
				t.Errorf("%s: %v", f.Path, f.Err)
			}
		}
		// The root has one inode; half of 200 may be used.
		if want := map[string]int{"/var": 1, "/tmp": 21}; !maps.Equal(failed, want) {
			t.Errorf("failed: %v, want %v", failed, want)
		}
		for path, want := range map[string]string{"/var/a": "own", "/run/pid": "1", "/var/z": "image", "/var/half": strings.Repeat("x", 300<<10)} {
			if got, err := os.ReadFile(path); err != nil || string(got) != want {
				t.Errorf("%s: %d bytes, %v", path, len(got), err)
			}
		}
	})
}

// A folder on which nothing is mounted is not copied.
func TestRestoreNothing(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		newRoot(t)
		write(t, "/var/x", "x")
		must(t, os.Mkdir(covered.Own, 0o755))
		if report, err := Files(t.Context(), covered.Folders()); err != nil || report.Copied+len(report.Failed)+len(report.Kept) > 0 {
			t.Errorf("got %+v, %v", report, err)
		}
	})
}

// When the context ends, files that are not copied are failures, and none is incomplete.
func TestRestoreEnds(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		newRoot(t)
		write(t, "/var/x", "x")
		cover(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		report, err := Files(ctx, []string{"/var"})
		must(t, err)
		if len(report.Failed) != 1 || report.Copied > 0 || exists("/var/x") {
			t.Errorf("got %+v", report)
		}
	})
}

// On an initramfs, the original of a copied file is removed.
func TestMove(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		newRoot(t)
		for _, name := range []string{"a", "b"} {
			write(t, "/var/x/"+name, name)
		}
		must(t, os.Link("/var/x/a", "/var/x/c"))
		cover(t)
		must(t, os.Mkdir(view, 0o755))
		must(t, mounts.Mount("", "/", "", []string{"remount", "bind", "ro"}))
		must(t, mounts.Uncovered(view, true, func() {
			c := copier{source: view, move: true, links: map[inode]string{}}
			c.folder(t.Context(), "/var")
			if left, err := os.ReadDir(view + "/var/x"); err != nil || len(left) > 0 || c.report.Copied != 4 || len(c.report.Failed) > 0 {
				t.Errorf("left %v, %v; %+v", left, err, c.report)
			}
		}))
		var a, c syscall.Stat_t
		must(t, syscall.Stat("/var/x/a", &a), syscall.Stat("/var/x/c", &c))
		if a.Ino != c.Ino {
			t.Error("a hard link has become a copy")
		}
		if left, err := os.ReadDir(view); err != nil || len(left) > 0 {
			t.Errorf("the view is visible to others: %v, %v", left, err)
		}
	})
}

// A link or a FIFO in place of a folder is neither followed nor blocks.
func TestFindInPlaceOfFolder(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		newRoot(t)
		write(t, "/elsewhere/x", "x")
		for _, d := range covered.Folders() {
			must(t, os.Remove(d))
		}
		must(t, os.Symlink("/elsewhere", "/var"), unix.Mkfifo("/tmp", 0o600))
		wantFound(t)
	})
}

// Files that an existing mount covers are not visible.
func TestFindMounted(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		newRoot(t)
		must(t, mounts.Mount("", "/run", "tmpfs", nil))
		wantFound(t)
		if got := covered.Find(covered.Folders(), true); !slices.Equal(got, []string{"/run"}) {
			t.Errorf("got %q", got)
		}
	})
}
