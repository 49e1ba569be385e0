package blkid

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

// uuid formats 16 bytes as in RFC 9562. That of zeros is none.
func uuid(b []byte) string {
	if len(b) != 16 || bytes.Equal(b, make([]byte, 16)) {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// text returns the bytes before the first zero, without blanks at the end.
func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return strings.TrimRight(string(s), " \t\r\n")
}

// Feature flags of ext4 by which its types are told apart (ext4/super.rst).
const (
	extHasJournal   = 0x4
	extJournalDev   = 0x8
	extIncompat3    = 0x2 | 0x4 | 0x10 // filetype, recover, meta_bg
	extROCompat3    = 0x1 | 0x2 | 0x4  // sparse_super, large_file, btree_dir
	extSuperblock   = 1024
	extSuperMagic   = 0xef53
	extMinimalState = 264
)

func ext(r *reader) Content {
	b := r.at(extSuperblock, extMinimalState)
	if le.Uint16(b[0x38:]) != extSuperMagic {
		return Content{}
	}
	compat, incompat, rocompat := le.Uint32(b[0x5c:]), le.Uint32(b[0x60:]), le.Uint32(b[0x64:])
	c := Content{Type: "ext4", UUID: uuid(b[0x68:0x78]), Label: text(b[0x78:0x88])}
	switch {
	case incompat&extJournalDev != 0:
		c.Type = "jbd"
	case incompat&^extIncompat3 != 0 || rocompat&^extROCompat3 != 0:
	case compat&extHasJournal != 0:
		c.Type = "ext3"
	default:
		c.Type = "ext2"
	}
	return c
}

func xfs(r *reader) Content {
	b := r.at(0, 512)
	if string(b[:4]) != "XFSB" {
		return Content{}
	}
	return Content{Type: "xfs", UUID: uuid(b[32:48]), Label: text(b[108:120])}
}

func btrfs(r *reader) Content {
	b := r.at(64<<10, 4096)
	if string(b[0x40:0x48]) != "_BHRfS_M" {
		return Content{}
	}
	return Content{Type: "btrfs", UUID: uuid(b[0x20:0x30]), Label: text(b[0x12b:0x22b])}
}

func erofs(r *reader) Content {
	b := r.at(1024, 128)
	if le.Uint32(b) != 0xe0f5e1e2 {
		return Content{}
	}
	return Content{Type: "erofs", UUID: uuid(b[48:64]), Label: text(b[64:80])}
}

// squashfs has neither label nor UUID. Its version is 4.0 (the only one that Linux mounts).
func squashfs(r *reader) Content {
	b := r.at(0, 96)
	if string(b[:4]) != "hsqs" || le.Uint16(b[28:]) != 4 {
		return Content{}
	}
	return Content{Type: "squashfs"}
}

// swap: the magic is at the end of the first page, whose size depends on the machine that
// made it.
func swap(r *reader) Content {
	for page := int64(4096); page <= 64<<10; page *= 2 {
		if string(r.at(page-10, 10)) != "SWAPSPACE2" {
			continue
		}
		b := r.at(1024, 44)
		if le.Uint32(b) != 1 && be.Uint32(b) != 1 { // the version; the byte order is the machine's
			continue
		}
		return Content{Type: "swap", UUID: uuid(b[12:28]), Label: text(b[28:44])}
	}
	return Content{}
}

func luks(r *reader) Content {
	b := r.at(0, 512)
	if string(b[:6]) != "LUKS\xba\xbe" {
		return Content{}
	}
	c := Content{Type: "crypto_LUKS", UUID: text(b[168:208])}
	switch be.Uint16(b[6:]) {
	case 1:
	case 2:
		c.Label = text(b[24:72])
	default:
		return Content{}
	}
	return c
}

// iso9660 uses the primary volume descriptor alone: longer labels of Joliet are not read.
// The UUID is the time of the last change, or of creation, as digits.
func iso9660(r *reader) Content {
	b := r.at(32<<10, 2048)
	if b[0] != 1 || string(b[1:6]) != "CD001" {
		return Content{}
	}
	c := Content{Type: "iso9660", Label: text(b[40:72])}
	for _, date := range [][]byte{b[830:846], b[813:829]} {
		if d := string(date); strings.Trim(d, "0123456789") == "" && strings.Trim(d, "0") != "" {
			c.UUID = strings.Join([]string{d[:4], d[4:6], d[6:8], d[8:10], d[10:12], d[12:14], d[14:]}, "-")
			break
		}
	}
	return c
}

func lvm(r *reader) Content {
	for sector := range int64(4) {
		b := r.at(sector*512, 64)
		if string(b[:8]) == "LABELONE" && string(b[24:32]) == "LVM2 001" {
			return Content{Type: lvmMember}
		}
	}
	return Content{}
}

// raid: metadata 1.1 and 1.2 are near the start, 0.90 and 1.0 near the end.
func raid(r *reader) Content {
	const magic = 0xa92b4efc
	for _, off := range []int64{0, 4096, (r.size - 8192) &^ 4095, r.size&^(64<<10-1) - 64<<10} {
		if b := r.at(off, 8); le.Uint32(b) == magic || be.Uint32(b) == magic {
			return Content{Type: raidMember}
		}
	}
	return Content{}
}
