package disk

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"

	"keelson/runtime/blkid"
	"keelson/runtime/disk/plan"
	"keelson/runtime/readfile"
)

// What must be zeros at the beginning and end of an empty device, in bytes. The first partition
// begins in it.
const (
	zeroHead = 4 << 20
	zeroTail = 1 << 20
)

const attributeLimit = 4096

// System is where a machine is observed. Tests confine it to their devices.
type System struct {
	Sys, Dev string                 // "/sys", "/dev"
	Only     func(name string) bool // of all devices; nil for those that contain file systems usually
	run      func(Command) (string, error)
	say      func(format string, args ...any)
}

// unsuited are devices made of files or memory, and those that take seconds without a medium.
var unsuited = []string{"loop", "ram", "zram", "fd", "nbd", "sr"}

func suited(name string) bool {
	for _, prefix := range unsuited {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			return false
		}
	}
	return !strings.HasPrefix(name, "mmcblk") || !strings.Contains(name, "boot") && !strings.Contains(name, "rpmb")
}

// State observes all devices, and those of the paths also if they are of another kind.
func (y System) State(w plan.Want) (plan.State, error) {
	s := plan.State{Paths: map[string]string{}}
	for _, path := range append([]string{w.Device}, w.Format...) {
		if name, err := filepath.EvalSymlinks(path); err == nil && path != plan.Any {
			s.Paths[path] = filepath.Base(name)
		}
	}
	links, err := os.ReadDir(filepath.Join(y.Sys, "class/block"))
	if err != nil {
		return s, fmt.Errorf("cannot list the disks: %w", err)
	}
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return s, fmt.Errorf("cannot read the mounts: %w", err)
	}
	swaps, _ := readfile.Limited("/proc/swaps", 1<<20) // Absent without swap in the kernel.
	for _, link := range links {
		name := link.Name()
		if y.Only != nil && !y.Only(name) || y.Only == nil && !suited(name) && !isNamed(s.Paths, name) {
			continue
		}
		d, number, ok := y.device(name)
		if !ok {
			continue
		}
		for _, m := range mounts {
			if fmt.Sprintf("%d:%d", m.Major, m.Minor) == number || m.Source == y.node(d) {
				d.Mounts = append(d.Mounts, m.Mountpoint)
			}
		}
		d.SwapOn = swapOnDevice(string(swaps), d.Name) || d.Mapped != "" && swapOnDevice(string(swaps), d.Mapped)
		s.Devices = append(s.Devices, d)
	}
	fold(&s)
	slices.SortStableFunc(s.Devices, func(a, b plan.Device) int { return compareNames(a.Name, b.Name) })
	for i := range s.Devices {
		y.examine(&s.Devices[i])
	}
	return s, nil
}

// fold removes partitions that begin with their disk, so that they are the disk: the kernel finds one in the table
// that mkfs.fat and Windows write into the boot sector of a FAT file system. What uses it uses the disk.
func fold(s *plan.State) {
	disks := map[string]*plan.Device{}
	for i := range s.Devices {
		disks[s.Devices[i].Name] = &s.Devices[i]
	}
	whole := func(d plan.Device) bool { return d.Disk != "" && d.Start == 0 && disks[d.Disk] != nil }
	for _, part := range s.Devices {
		if !whole(part) {
			continue
		}
		disk := disks[part.Disk]
		disk.Mounts, disk.Holders = append(disk.Mounts, part.Mounts...), append(disk.Holders, part.Holders...)
		disk.SwapOn = disk.SwapOn || part.SwapOn
		for path, name := range s.Paths {
			if name == part.Name {
				s.Paths[path] = part.Disk
			}
		}
	}
	s.Devices = slices.DeleteFunc(slices.Clone(s.Devices), whole)
}

// swapOnDevice reports whether /proc/swaps has the device. The folder in it is that which a
// container had, and means nothing outside.
func swapOnDevice(swaps, name string) bool {
	for line := range strings.Lines(swaps) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == "partition" && filepath.Base(f[0]) == name {
			return true
		}
	}
	return false
}

// isNamed reports whether a device, or the disk of a partition, is that of a path.
func isNamed(paths map[string]string, name string) bool {
	for _, named := range paths {
		rest, ok := strings.CutPrefix(name, named)
		if ok && strings.Trim(rest, "p0123456789") == "" {
			return true
		}
	}
	return false
}

// compareNames orders devices as the kernel numbers them: vdz before vdaa, nvme2n1 before nvme10n1.
func compareNames(a, b string) int {
	ka, kb := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	na, _ := strconv.Atoi(a[len(ka):]) // 0 without one.
	nb, _ := strconv.Atoi(b[len(kb):])
	if ka[:min(2, len(ka))] == kb[:min(2, len(kb))] {
		return cmp.Or(len(ka)-len(kb), strings.Compare(ka, kb), na-nb)
	}
	return strings.Compare(ka, kb)
}

func (y System) attribute(name ...string) string {
	text, err := readfile.Limited(filepath.Join(append([]string{y.Sys, "class/block"}, name...)...), attributeLimit)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// device reads what sysfs has of a device. ok is false without a medium, or if it is gone.
func (y System) device(name string) (d plan.Device, number string, ok bool) {
	sectors, err := strconv.ParseInt(y.attribute(name, "size"), 10, 64)
	if err != nil || sectors <= 0 || sectors > 1<<54 || y.attribute(name, "hidden") == "1" {
		return d, "", false
	}
	d = plan.Device{Name: name, Size: sectors * 512, Mapped: y.attribute(name, "dm/name"),
		Removable: y.attribute(name, "removable") == "1", ReadOnly: y.attribute(name, "ro") == "1"}
	if d.Part, err = strconv.Atoi(y.attribute(name, "partition")); err == nil {
		dir, err := filepath.EvalSymlinks(filepath.Join(y.Sys, "class/block", name))
		if err != nil {
			return d, "", false
		}
		start, err := strconv.ParseInt(y.attribute(name, "start"), 10, 64)
		if err != nil || start < 0 || start > 1<<54 {
			return d, "", false
		}
		d.Disk, d.Start = filepath.Base(filepath.Dir(dir)), start*512
	}
	holders, _ := os.ReadDir(filepath.Join(y.Sys, "class/block", name, "holders"))
	for _, h := range holders {
		d.Holders = append(d.Holders, h.Name())
	}
	return d, y.attribute(name, "dev"), true
}

// node returns the path of a device.
func (y System) node(d plan.Device) string {
	if d.Mapped != "" {
		if path := filepath.Join(y.Dev, "mapper", d.Mapped); exists(path) {
			return path
		}
	}
	return filepath.Join(y.Dev, d.Name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// examine reads what is on a device.
func (y System) examine(d *plan.Device) {
	f, err := os.Open(filepath.Join(y.Dev, d.Name))
	if err != nil {
		d.Problem = "cannot be read: " + reason(err)
		return
	}
	defer f.Close()
	if err := content(f, d); err != nil {
		d.Problem = "cannot be identified: " + reason(err)
		return
	}
	if d.Disk != "" || d.Mapped != "" || d.Zero || d.Content.Type != "" {
		return
	}
	if d.Table, err = y.table(*d); err != nil {
		y.say("%s: cannot read the partition table: %v", d.Name, err)
	}
}

// content identifies what is on a device.
func content(f io.ReaderAt, d *plan.Device) (err error) {
	for _, at := range []int64{plan.TableMarkAt, d.Size - plan.MarkSize} {
		b := make([]byte, plan.MarkSize)
		if at < 0 || at > d.Size-plan.MarkSize {
			continue
		}
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		if m := plan.ParseMark(b); m != nil && m.At(d.Size) == at {
			d.Mark = m
		}
	}
	if d.Content, err = blkid.Probe(f, d.Size); err != nil || d.Content.Type != "" {
		if d.Content.Type == plan.LUKS {
			d.Fresh = fresh(f)
		}
		return err
	}
	d.Zero, err = isZero(f, d.Size)
	return err
}

// fresh reports whether a volume has plan.FreshSubsystem: in the binary header of LUKS2, the
// version is at byte 6 and the subsystem at byte 208.
func fresh(f io.ReaderAt) bool {
	b := make([]byte, 256)
	if _, err := f.ReadAt(b, 0); err != nil {
		return false
	}
	subsystem, _, _ := bytes.Cut(b[208:], []byte{0})
	return b[6] == 0 && b[7] == 2 && string(subsystem) == plan.FreshSubsystem
}

func isZero(f io.ReaderAt, size int64) (bool, error) {
	head := min(size, zeroHead)
	for _, part := range [][2]int64{{0, head}, {max(head, size-zeroTail), size}} {
		r := io.NewSectionReader(f, part[0], part[1]-part[0])
		for buf := make([]byte, 1<<16); ; {
			n, err := r.Read(buf)
			if bytes.Trim(buf[:n], "\x00") != nil {
				return false, nil
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// reason returns an error without the path that the message has already.
func reason(err error) string {
	if p := (*os.PathError)(nil); errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
