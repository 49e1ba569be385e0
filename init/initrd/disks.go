package initrd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Disk is a block device by what the kernel says of it in its uevent.
type Disk map[string]string

// ParseDisk reads a file uevent: lines of the form KEY=VALUE.
func ParseDisk(text string) Disk {
	d := Disk{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			d[key] = value
		}
	}
	return d
}

// path is the device node.
func (d Disk) path() string { return "/dev/" + d["DEVNAME"] }

// Find is the device node among disks that root= means, or "".
func (w Wish) Find(disks []Disk) string {
	i := slices.IndexFunc(disks, w.is)
	if i < 0 {
		return ""
	}
	return disks[i].path()
}

func (w Wish) is(d Disk) bool {
	if d["DEVNAME"] == "" {
		return false
	}
	if id, ok := strings.CutPrefix(w.Device, "PARTUUID="); ok {
		return strings.EqualFold(id, d["PARTUUID"])
	}
	if label, ok := strings.CutPrefix(w.Device, "PARTLABEL="); ok {
		return label == d["PARTNAME"]
	}
	return w.Device == d.path() || w.Device == d["MAJOR"]+":"+d["MINOR"]
}

// disks are all block devices there are.
func disks() []Disk {
	files, _ := filepath.Glob("/sys/class/block/*/uevent") // The pattern is right.
	var all []Disk
	for _, f := range files {
		// A disk may have gone meanwhile.
		if text, err := os.ReadFile(f); err == nil {
			all = append(all, ParseDisk(string(text)))
		}
	}
	return all
}

// list names disks for people.
func list(disks []Disk) string {
	if len(disks) == 0 {
		return "there is no disk"
	}
	var names []string
	for _, d := range disks {
		name := d.path()
		if d["PARTNAME"] != "" {
			name += " (" + d["PARTNAME"] + ")"
		}
		names = append(names, name)
	}
	return "there are " + strings.Join(names, ", ")
}
