package initrd

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Keys of a Disk beside the variables of its uevent.
const (
	sizeKey  = "size"  // in sectors of 512 bytes
	uuidKey  = "uuid"  // of its content
	labelKey = "label" // of its content
)

// Disk holds the variables of the uevent of a block device.
type Disk map[string]string

// ParseDisk parses a file uevent: lines KEY=VALUE.
func ParseDisk(text string) Disk {
	d := Disk{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			d[key] = value
		}
	}
	return d
}

// path returns the device node.
func (d Disk) path() string { return "/dev/" + d["DEVNAME"] }

// Find returns the device node of the disk that root= names, or "".
func (w Params) Find(disks []Disk) string {
	i := slices.IndexFunc(disks, w.is)
	if i < 0 {
		return ""
	}
	return disks[i].path()
}

func (w Params) is(d Disk) bool {
	if d["DEVNAME"] == "" {
		return false
	}
	if id, ok := strings.CutPrefix(w.Device, "PARTUUID="); ok {
		return strings.EqualFold(id, d["PARTUUID"])
	}
	if label, ok := strings.CutPrefix(w.Device, "PARTLABEL="); ok {
		return label == d["PARTNAME"]
	}
	if id, ok := strings.CutPrefix(w.Device, byUUID); ok {
		return id != "" && strings.EqualFold(id, d[uuidKey])
	}
	if label, ok := strings.CutPrefix(w.Device, byLabel); ok {
		return label != "" && label == d[labelKey]
	}
	return w.Device == d.path() || w.Device == d["MAJOR"]+":"+d["MINOR"]
}

// disks returns all block devices.
func disks() []Disk {
	files, _ := filepath.Glob("/sys/class/block/*/uevent") // The pattern is right.
	var all []Disk
	for _, f := range files {
		// A disk may have been removed meanwhile.
		if text, err := os.ReadFile(f); err == nil {
			d := ParseDisk(string(text))
			size, _ := os.ReadFile(filepath.Dir(f) + "/size") // Without it the content is not read.
			d[sizeKey] = strings.TrimSpace(string(size))
			all = append(all, d)
		}
	}
	return all
}

// list formats disks for messages.
func list(disks []Disk) string {
	if len(disks) == 0 {
		return "there is no disk"
	}
	var names []string
	for _, d := range disks {
		name := d.path()
		if label := cmp.Or(d["PARTNAME"], d[labelKey]); label != "" {
			name += " (" + strings.ToValidUTF8(label, "?") + ")"
		}
		names = append(names, name)
	}
	return "there are " + strings.Join(names, ", ")
}
