package image

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/testvm/image/debian"
	"keelson/testvm/image/disk"
	"keelson/testvm/image/format"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// runner runs a program, which must succeed, and returns its output.
func runner(t *testing.T) func(program string, args ...string) string {
	return func(program string, args ...string) string {
		t.Helper()
		path, err := debian.Tool(program)
		if err != nil {
			tier.Skip(t, "needs %s", program)
		}
		out, err := exec.Command(path, args...).CombinedOutput()
		if err != nil {
			t.Errorf("%s %q: %v\n%s", program, args, err, out)
		}
		return string(out)
	}
}

// checkDisks checks partitions and file systems with other programs, and that disks are
// sparse.
func checkDisks(t *testing.T, dir string) {
	t.Helper()
	run := runner(t)
	for name, at := range map[string]int64{"a-efi.img": disk.Alignment, "a-bios.img": disk.Alignment, "a-rpi.img": disk.Alignment, "a-efi.iso": -1} {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err != nil {
			continue // Not for this architecture.
		}
		if strings.Contains(name, "-efi") && !strings.Contains(run("sgdisk", "-v", file), "No problems found") {
			t.Errorf("%s: %s", name, run("sgdisk", "-v", file))
		}
		run("sfdisk", "--verify", file)
		if at < 0 {
			continue
		}
		part := filepath.Join(t.TempDir(), name)
		run("dd", "if="+file, "of="+part, "bs=1M", "skip=1", "status=none")
		run("fsck.fat", "-n", part)
		checkData(t, file, run)
		var st unix.Stat_t
		if err := unix.Stat(file, &st); err != nil || name != "a-bios.img" && st.Blocks*512 > st.Size/2 {
			t.Errorf("%s takes %d of %d bytes: %v", name, st.Blocks*512, st.Size, err)
		}
	}
	for _, arch := range []string{format.AMD64, format.ARM64} {
		if strings.Contains(dir, arch) {
			for _, name := range []string{"a-efi.img", "a-efi.iso"} {
				if got, err := disk.EFIArch(filepath.Join(dir, name)); got != arch {
					t.Errorf("%s is for %q, %v", name, got, err)
				}
			}
		}
	}
}

// checkData checks that the last partition of a disk is an ext4 file system with the label
// data.
func checkData(t *testing.T, file string, run func(string, ...string) string) {
	t.Helper()
	table := strings.TrimSpace(run("sfdisk", "--dump", file))
	last := regexp.MustCompile(`start= *(\d+), size= *(\d+), type=(?:83|0FC63DAF-8483-4772-8E79-3D69D8477DE4.*name="data")$`).FindStringSubmatch(table)
	if last == nil {
		t.Errorf("%s has no partition for data:\n%s", file, table)
		return
	}
	part := filepath.Join(t.TempDir(), "data")
	run("dd", "if="+file, "of="+part, "bs=512", "skip="+last[1], "count="+last[2], "conv=sparse", "status=none")
	run("e2fsck", "-fn", part)
	head := run("dumpe2fs", "-h", part)
	for _, want := range []string{"Filesystem volume name:   data\n", "Block count:              16384\n", "Total journal size:       16M\n"} {
		if !strings.Contains(head, want) {
			t.Errorf("%s: the file system does not have %q:\n%s", file, want, head)
		}
	}
}

// A full disk is reported as such, at whatever step it fills, and no incomplete file is left.
// Every format is made on larger and larger disks until it fits.
func TestFullDisk(t *testing.T) {
	needTools(t, format.AMD64)
	tier.Root(t)
	dir := small(t)
	cacheDir := t.TempDir()
	nstest.Run(t, func(t *testing.T) {
		for _, name := range formatsOf(format.AMD64) {
			mib := 1
			for !fitsIn(t, dir, cacheDir, name, mib) {
				mib += 3
			}
			if mib < 4 || mib > 60 {
				t.Errorf("%s fits in %d MiB", name, mib)
			}
		}
	})
}

// fitsIn builds on a disk of the given size and reports whether it fits. A failure must be
// reported and leave no files.
func fitsIn(t *testing.T, dir, cacheDir, name string, mib int) bool {
	t.Helper()
	out := t.TempDir()
	if err := unix.Mount("tmpfs", out, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(out, unix.MNT_DETACH) }()
	o := options(dir, out, format.AMD64, name)
	o.CacheDir = cacheDir
	_, err := Build(t.Context(), o)
	if err == nil {
		return true
	}
	if !strings.Contains(strings.ToLower(err.Error()), "no space left") {
		t.Fatalf("%s on a full disk of %d MiB: %v", name, mib, err)
	}
	if left := files(t, out); len(left) != 0 {
		t.Errorf("%s left %q", name, left)
	}
	return false
}

// files returns all files below dir.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
