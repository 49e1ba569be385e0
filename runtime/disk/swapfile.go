package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/blkid"
	"keelson/runtime/disk/plan"
	"keelson/runtime/readfile"
)

// SwapFile is a swap file that is wanted.
type SwapFile struct {
	Path       string
	Size       int64 // in bytes
	Conditions []Condition
	Encrypt    bool // with a key that is forgotten at power-off
}

// mappedSwap is the name of the mapped device of an encrypted swap file.
const mappedSwap = "swapfile"

// Condition is what has to be so for a swap file to be made.
type Condition struct {
	MountPoint string // a mount point
	Size       int64  // that the file system there has at least; 0 for any
	Required   bool   // else it is no error if it is not so
}

// ParseCondition parses part:PATH[:REQUIRED] or partsize:PATH:SIZE[:REQUIRED].
func ParseCondition(text string) (Condition, error) {
	parts := strings.Split(text, ":")
	kind, parts := parts[0], parts[1:]
	var c Condition
	n := 1
	if kind == "partsize" {
		n = 2
	}
	if kind != "part" && kind != "partsize" || len(parts) < n || len(parts) > n+1 || !filepath.IsAbs(parts[0]) {
		return c, fmt.Errorf("condition %q: want part:PATH[:REQUIRED] or partsize:PATH:SIZE[:REQUIRED]", text)
	}
	c.MountPoint = filepath.Clean(parts[0])
	var err error
	if n == 2 {
		if c.Size, err = ParseSize(parts[1]); err != nil {
			return c, fmt.Errorf("condition %q: %w", text, err)
		}
	}
	if len(parts) > n {
		if c.Required, err = strconv.ParseBool(parts[n]); err != nil {
			return c, fmt.Errorf("condition %q: whether it is required is true or false", text)
		}
	}
	return c, nil
}

// ParseSize parses a number of bytes, or one with a unit such as K, M, G or T, which is that of powers of 1024.
func ParseSize(text string) (int64, error) {
	n, err := units.RAMInBytes(text)
	if err != nil || n <= 0 || n > 1<<60 {
		return 0, fmt.Errorf("size %q: want a number of bytes, or one with K, M, G or T", text)
	}
	return n, nil
}

// unmet returns why a condition is not met, or "".
func (c Condition) unmet() string {
	if there, err := mounts.IsMountPoint(c.MountPoint); err != nil || !there {
		return "nothing is mounted on " + c.MountPoint
	}
	if size, err := blocks(c.MountPoint); err != nil || size < c.Size {
		return fmt.Sprintf("the file system on %s has %d MiB, not %d", c.MountPoint, size>>20, c.Size>>20)
	}
	return ""
}

// SwapFile makes a swap file unless it exists, and turns it on.
func (y System) SwapFile(f SwapFile) error {
	for _, c := range f.Conditions {
		if why := c.unmet(); why != "" && c.Required {
			return fmt.Errorf("no swap file %s: %s", f.Path, why)
		} else if why != "" {
			y.say("no swap file %s: %s", f.Path, why)
			return nil
		}
	}
	if err := y.makeSwapFile(f); err != nil {
		return fmt.Errorf("cannot make the swap file %s: %w", f.Path, err)
	}
	on := f.Path
	if f.Encrypt {
		var err error
		if on, err = y.encryptSwap(f.Path); err != nil {
			return err
		}
	}
	if err := swapOn(on, 0); err != nil && !errors.Is(err, unix.EBUSY) { // EBUSY: it is on.
		return err
	}
	y.say("%s is in use as swap, %d MiB", on, f.Size>>20)
	return nil
}

// makeSwapFile makes the file under another name until it is complete.
func (y System) makeSwapFile(f SwapFile) error {
	if isSwapFile(f) {
		return nil
	}
	y.say("making the swap file %s, %d MiB", f.Path, f.Size>>20)
	temp := f.Path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = allocate(file, f.Size)
	if err == nil && !f.Encrypt {
		err = y.tool(Command{Name: "mkswap", Args: []string{temp}})
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return os.Rename(temp, f.Path)
}

// isSwapFile reports whether the file is there with its size. That of an encrypted one has no
// header.
func isSwapFile(f SwapFile) bool {
	info, err := os.Lstat(f.Path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != f.Size {
		return false
	}
	return f.Encrypt || isSwap(f.Path)
}

// isSwap reports whether a file or device has a swap area.
func isSwap(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return false
	}
	content, err := blkid.Probe(file, size)
	return err == nil && content.Type == plan.Swap
}

// allocate gives a file its blocks: a swap file has no holes (swapon(8)).
func allocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return os.NewSyscallError("fallocate", err)
	}
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// encryptSwap maps a file with a random key, and makes a swap area in that. It returns the mapped
// device. One that an earlier run left without a swap area, or without turning it on, is used.
func (y System) encryptSwap(file string) (string, error) {
	node := filepath.Join(y.Dev, "mapper", mappedSwap)
	if exists(node) {
		if err := y.checkMapped(node, file); err != nil {
			return "", err
		}
	} else if err := y.tool(Command{Name: "cryptsetup", Args: []string{"open", "--type", "plain", "--disable-keyring", "--cipher", "aes-xts-plain64",
		"--key-size", "512", "--key-file", "/dev/urandom", file, mappedSwap}}); err != nil {
		return "", fmt.Errorf("cannot encrypt the swap file %s: %w", file, err)
	}
	if isSwap(node) {
		return node, nil
	}
	if err := y.tool(Command{Name: "mkswap", Args: []string{node}}); err != nil {
		return "", errors.Join(fmt.Errorf("cannot make a swap area in %s, which encrypts %s: %w", node, file, err),
			y.tool(Command{Name: "cryptsetup", Args: []string{"close", mappedSwap}}))
	}
	return node, nil
}

// checkMapped returns an error unless a mapped device has been made of a file by encryptSwap. The path in
// backing_file of sysfs is that in a container that has ended, so that the files are compared themselves.
func (y System) checkMapped(node, file string) error {
	foreign := fmt.Errorf("cannot encrypt the swap file %s: the mapped device %s exists, and is not made of it", file, node)
	var mapped, backing unix.Stat_t
	if err := errors.Join(unix.Stat(node, &mapped), unix.Stat(file, &backing)); err != nil {
		return errors.Join(foreign, err)
	}
	dir := filepath.Join(y.Sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(mapped.Rdev), unix.Minor(mapped.Rdev)))
	id, err := readfile.Limited(filepath.Join(dir, "dm/uuid"), attributeLimit)
	if err != nil || !strings.HasPrefix(string(id), "CRYPT-PLAIN-") {
		return errors.Join(foreign, err)
	}
	slaves, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if err != nil || len(slaves) != 1 {
		return errors.Join(foreign, err)
	}
	f, err := os.Open(filepath.Join(y.Dev, slaves[0].Name()))
	if err != nil {
		return errors.Join(foreign, err)
	}
	defer f.Close()
	loop, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil || loop.Device != backing.Dev || loop.Inode != backing.Ino {
		return errors.Join(foreign, err)
	}
	return nil
}
