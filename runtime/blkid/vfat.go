package blkid

import (
	"fmt"
	"math/bits"
)

const (
	sector    = 512
	dirEntry  = 32
	noName    = "NO NAME    "
	attrMask  = 0x3f
	attrLong  = 0x0f
	attrLabel = 0x08
	// fatRoot is how much of the root folder is searched for the label, in bytes: mkfs.fat
	// and Windows make it the first entry.
	fatRoot = 16 << 10
)

// vfat: the label is the entry for it in the root folder, else the one in the boot sector,
// which other systems do not change.
func vfat(r *reader) Content {
	b := r.at(0, sector)
	if b[510] != 0x55 || b[511] != 0xaa || b[0] != 0xeb && b[0] != 0xe9 {
		return Content{}
	}
	size, cluster := int64(le.Uint16(b[11:])), int64(b[13])
	reserved, fats, entries := int64(le.Uint16(b[14:])), int64(b[16]), int64(le.Uint16(b[17:]))
	if size < sector || size > 4096 || bits.OnesCount64(uint64(size)) != 1 || bits.OnesCount64(uint64(cluster)) != 1 || reserved == 0 || fats == 0 || fats > 2 || b[21] < 0xf8 && b[21] != 0xf0 {
		return Content{}
	}
	length, extended, root := int64(le.Uint16(b[22:])), b[36:62], int64(0)
	data := reserved + fats*length // first sector of the root folder of FAT12 and FAT16
	if length == 0 {               // FAT32
		length, extended = int64(le.Uint32(b[36:])), b[64:90]
		data = reserved + fats*length
		root, entries = int64(le.Uint32(b[44:])), fatRoot/dirEntry
		if root < 2 || length == 0 {
			return Content{}
		}
		data += (root - 2) * cluster
	}
	if string(extended[18:21]) != "FAT" {
		return Content{}
	}
	c := Content{Type: "vfat"}
	if serial := extended[3:7]; le.Uint32(serial) != 0 {
		c.UUID = fmt.Sprintf("%02X%02X-%02X%02X", serial[3], serial[2], serial[1], serial[0])
	}
	if name := extended[7:18]; string(name) != noName {
		c.Label = text(name)
	}
	if label, ok := fatLabel(r.at(data*size, int(min(entries*dirEntry, fatRoot)))); ok {
		c.Label = label
	}
	return c
}

// fatLabel returns the label in a folder.
func fatLabel(dir []byte) (string, bool) {
	for ; len(dir) >= dirEntry && dir[0] != 0; dir = dir[dirEntry:] {
		if attr := dir[11] & attrMask; dir[0] == 0xe5 || attr == attrLong || attr&attrLabel == 0 {
			continue
		}
		if dir[0] == 0x05 { // stands for 0xe5, which marks removed entries
			dir[0] = 0xe5
		}
		return text(dir[:11]), string(dir[:11]) != noName
	}
	return "", false
}
