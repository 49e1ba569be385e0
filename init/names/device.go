package names

import (
	"cmp"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"keelson/mounts"
	"keelson/runtime/readfile"
)

// attributeLimit is more than any attribute of sysfs has.
const attributeLimit = 4096

// Device is a block device or serial port.
type Device struct {
	Node    string // below /dev, such as "vda1"
	Number  string // MAJOR:MINOR
	Seq     uint64 // the sequence number of the disk: later ones have higher numbers
	Part    int    // number of the partition; 0 for a whole disk
	Size    int64  // in bytes
	USB     bool
	Removes bool // the medium can be removed
	Names   []string

	uevent map[string]string
	dir    string // in sysfs, without links
	start  string // first sector of a partition
}

// identity changes when another device has the same number.
func (d Device) identity() string {
	return strings.Join([]string{d.Node, strconv.FormatUint(d.Seq, 10), d.start, strconv.FormatInt(d.Size, 10)}, " ")
}

// mapped reports whether it is a device of the device mapper.
func (d Device) mapped() bool { return strings.HasPrefix(d.Node, "dm-") }

// compare orders devices that claim the same link: the first one gets it.
func compare(a, b Device) int {
	return cmp.Or(btoi(a.USB || a.Removes)-btoi(b.USB || b.Removes), btoi(b.mapped())-btoi(a.mapped()),
		cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Part, b.Part), cmp.Compare(a.Node, b.Node))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// attribute returns an attribute of a device without blanks around it, or "".
func attribute(name ...string) string {
	text, err := readfile.Limited(filepath.Join(name...), attributeLimit)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// properties returns the variables of the uevent of a device: lines KEY=VALUE.
func properties(dir string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(attribute(dir, "uevent")) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			all[key] = value
		}
	}
	return all
}

// subsystem returns that of a device, or "".
func subsystem(dir string) string {
	to, err := os.Readlink(dir + "/subsystem")
	if err != nil {
		return ""
	}
	return path.Base(to)
}

// unnamed are devices that are made of files or memory, whose content has names already, or
// that take seconds to read without a medium.
var unnamed = []string{"loop", "ram", "zram", "fd", "nbd"}

func isUnnamed(node string) bool {
	kind := strings.TrimRight(node, "0123456789")
	return slices.Contains(unnamed, kind) || strings.HasPrefix(node, "loop") || strings.HasPrefix(node, "mmcblk") && (strings.Contains(node, "boot") || strings.Contains(node, "rpmb"))
}

// disks returns the disks and partitions in sysfs that get names.
func disks(sys string) []Device {
	links, _ := filepath.Glob(sys + "/class/block/*") // The pattern is right.
	var all []Device
	for _, link := range links {
		if isUnnamed(filepath.Base(link)) {
			continue
		}
		if d, ok := disk(link); ok {
			all = append(all, d)
		}
	}
	return all
}

// disk reads the device to which a link leads. ok is false for one that has been removed, has
// no medium, or belongs to a mapped device of keelson's own.
func disk(link string) (Device, bool) {
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return Device{}, false
	}
	d := Device{dir: dir, uevent: properties(dir), Number: attribute(dir, "dev"), start: attribute(dir, "start")}
	d.Node = d.uevent["DEVNAME"]
	sectors, err := strconv.ParseInt(attribute(dir, "size"), 10, 64)
	if err != nil || sectors <= 0 || sectors > 1<<54 || !isNode(d.Node) || d.Number == "" || attribute(dir, "hidden") == "1" || strings.HasPrefix(attribute(dir, "dm/name"), mounts.VerityPrefix) {
		return Device{}, false
	}
	d.Size = sectors * 512
	if d.uevent["DEVTYPE"] == "partition" {
		d.Part, _ = strconv.Atoi(attribute(dir, "partition")) // 0 on failure: a whole disk.
	}
	whole := d.whole()
	d.Seq, _ = strconv.ParseUint(attribute(whole, "diskseq"), 10, 64) // 0 on failure, and before Linux 5.15.
	d.Removes = attribute(whole, "removable") == "1"
	return d, true
}

// isNode reports whether name is a path below /dev, such as vda or mapper/x.
func isNode(name string) bool {
	return name != "" && !path.IsAbs(name) && path.Clean(name) == name && name != "." && !strings.HasPrefix(name, "..")
}

// whole returns the folder of the disk of a partition, or that of the disk itself.
func (d Device) whole() string {
	if d.uevent["DEVTYPE"] == "partition" {
		return path.Dir(d.dir)
	}
	return d.dir
}

// ancestor returns the nearest folder above a device's that has a subsystem of this name, and
// one of these types, if any are given (DEVTYPE); else "".
func ancestor(dir, name string, types ...string) string {
	for dir = path.Dir(dir); len(dir) > 1; dir = path.Dir(dir) {
		if subsystem(dir) == name && (len(types) == 0 || slices.Contains(types, properties(dir)["DEVTYPE"])) {
			return dir
		}
	}
	return ""
}
