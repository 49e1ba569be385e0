package mounts

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const (
	maxSwapFolders = 4096
	maxSwapEntries = 65536
)

// swapArea is a line of /proc/swaps. Its path is relative to the mount that it was opened
// through (d_path() of the kernel), which may be a container's: it may not exist here, or
// be another file.
type swapArea struct {
	path  string
	block bool
	kib   int64
}

// SwapOff turns off all swap: by path, by device, and files that a container used, which
// it searches on mounted file systems and on disks in use.
func SwapOff() error {
	areas, err := swapAreas()
	if err != nil || len(areas) == 0 {
		return err
	}
	reasons := make(map[string]error, len(areas))
	for _, off := range []func(swapArea) error{
		func(a swapArea) error { return swapOff(a.path) },
		swapOffDevice, swapOffMounted, swapOffHeld,
	} {
		for _, a := range areas {
			if err := off(a); err != nil && (reasons[a.path] == nil || !errors.Is(err, unix.EINVAL)) {
				reasons[a.path] = err
			}
		}
		if areas, err = swapAreas(); err != nil || len(areas) == 0 {
			return err
		}
	}
	var errs []error
	for _, a := range areas {
		errs = append(errs, fmt.Errorf("cannot turn swap off on %s: %w", a.path, reasons[a.path]))
	}
	return errors.Join(errs...)
}

func swapAreas() ([]swapArea, error) {
	f, err := os.Open("/proc/swaps")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // A kernel without swap.
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list swap: %w", err)
	}
	defer f.Close()
	return swaps(f), nil
}

// swapOffDevice tries the devices that may be a.
func swapOffDevice(a swapArea) error {
	if !a.block {
		return nil
	}
	err := error(unix.ENOENT)
	for _, d := range swapCandidates(a, blockDevices(sysBlock)) {
		if err = withNode(unix.S_IFBLK, d.dev, d.name, swapOff); err == nil {
			return nil
		}
	}
	return err
}

// swapCandidates returns the devices that are large enough for a: first those of its name,
// then those of nearly its size. The header takes one page.
func swapCandidates(a swapArea, devices []blockDevice) []blockDevice {
	rank := func(d blockDevice) int {
		switch spare := d.sectors/2 - a.kib; {
		case d.name == path.Base(a.path):
			return 0
		case spare <= 64:
			return 1
		}
		return 2
	}
	list := slices.DeleteFunc(slices.Clone(devices), func(d blockDevice) bool { return d.sectors/2 < a.kib })
	slices.SortStableFunc(list, func(a, b blockDevice) int { return rank(a) - rank(b) })
	return list
}

// swapOffMounted searches for a swap file on mounted file systems.
func swapOffMounted(a swapArea) error {
	if a.block {
		return nil
	}
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return err
	}
	err = unix.ENOENT
	for _, m := range infos {
		if volatile[m.FSType] {
			continue
		}
		if err = swapOffBelow(m.Mountpoint, a); err == nil {
			return nil
		}
	}
	return err
}

// swapOffHeld searches for a swap file on disks whose mounts ended with the container
// that made them.
func swapOffHeld(a swapArea) error {
	if a.block {
		return nil
	}
	err := error(unix.ENOENT)
	for _, d := range heldDevices() {
		if err = mountAgain(d, func(target string) error { return swapOffBelow(target, a) }); err == nil {
			return nil
		}
	}
	return err
}

// swapOffBelow turns swap off on the path of a below dir, or on the first file of its name
// and size that is a swap file. It searches a bounded number of folders.
func swapOffBelow(dir string, a swapArea) error {
	if err := swapOff(filepath.Join(dir, a.path)); err == nil {
		return nil
	}
	folders, seen := []string{dir}, 0
	for i := 0; i < len(folders) && seen < maxSwapEntries; i++ {
		f, err := os.Open(folders[i])
		if err != nil {
			continue
		}
		entries, _ := f.ReadDir(maxSwapEntries - seen)
		f.Close()
		seen += len(entries)
		for _, e := range entries {
			name := filepath.Join(folders[i], e.Name())
			switch {
			case e.IsDir() && len(folders) < maxSwapFolders:
				folders = append(folders, name)
			case a.mayBe(e) && swapOff(name) == nil:
				return nil
			}
		}
	}
	return unix.ENOENT
}

// mayBe reports whether a file has the name and the size of a. A file that was bind
// mounted has no name there.
func (a swapArea) mayBe(e fs.DirEntry) bool {
	if !e.Type().IsRegular() || a.path != "/" && e.Name() != path.Base(a.path) {
		return false
	}
	info, err := e.Info()
	return err == nil && info.Size()>>10 >= a.kib
}

func swapOff(path string) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// swaps parses /proc/swaps: a heading, then lines with path, type and size in KiB. Blanks
// in paths are octal escapes.
func swaps(r io.Reader) []swapArea {
	var areas []swapArea
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) > 2 && strings.HasPrefix(f[0], "/") {
			kib, _ := strconv.ParseInt(f[2], 10, 64)
			areas = append(areas, swapArea{path: unescape(f[0]), block: f[1] == "partition", kib: kib})
		}
	}
	return areas
}

// unescape replaces the kernel's octal escapes \ooo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return c >= '0' && c <= '7' }
