package names

import (
	"path"
	"slices"
	"strings"

	"keelson/runtime/blkid"
)

// Content is what is known of the content of a device: names that can be used in a path.
type Content struct {
	UUID  string `json:",omitempty"`
	Label string `json:",omitempty"`
}

// nameLimit is the length of a file name (NAME_MAX).
const nameLimit = 255

// plan returns the links below /dev and to which node each leads: "disk/by-label/x" to
// "vda1".
func plan(devices []Device) map[string]string {
	devices = slices.Clone(devices)
	slices.SortStableFunc(devices, compare)
	links := map[string]string{}
	for _, d := range devices {
		for _, name := range d.Names {
			if _, taken := links[name]; !taken && fit(name) {
				links[name] = d.Node
			}
		}
	}
	return links
}

// folders are those of the links below /dev.
var folders = []string{"disk/by-id", "disk/by-uuid", "disk/by-label", "disk/by-partuuid", "disk/by-partlabel", "disk/by-path", "serial/by-id"}

// fit reports whether name is directly in one of the folders. Names that lead elsewhere cannot
// come about; this is the last check before they would be used.
func fit(name string) bool {
	dir, base := path.Split(name)
	return slices.Contains(folders, strings.TrimSuffix(dir, "/")) && base != "" && base != "." && base != ".." &&
		len(base) <= nameLimit && !strings.ContainsFunc(base, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// diskNames returns the links of a disk or partition. ids and paths are those of the whole
// disk.
func diskNames(d Device, ids, paths []string, c Content) []string {
	var all []string
	add := func(folder, name string) {
		if name != "" {
			all = append(all, "disk/"+folder+"/"+name)
		}
	}
	suffix := ""
	if d.Part > 0 {
		suffix = "-part" + attribute(d.dir, "partition")
	}
	for _, id := range ids {
		add("by-id", id+suffix)
	}
	for _, p := range paths {
		add("by-path", p+suffix)
	}
	add("by-partuuid", blkid.Encode(strings.ToLower(d.uevent["PARTUUID"])))
	add("by-partlabel", blkid.Encode(d.uevent["PARTNAME"]))
	add("by-uuid", c.UUID)
	add("by-label", c.Label)
	return all
}

// replaced makes part of a name from a string of a device, as udev does: blanks around it are
// dropped, others and everything but ASCII letters, digits, #+-.:=@_ and valid UTF-8 become _.
// Unlike in udev, / does too.
func replaced(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	s = strings.Join(strings.Fields(s), "_")
	return strings.Map(func(r rune) rune {
		if r > 0x7f && r != '\ufffd' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || strings.ContainsRune("#+-.:=@_", r) {
			return r
		}
		return '_'
	}, s)
}

// joined joins the parts that are not empty.
func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "_")
}
