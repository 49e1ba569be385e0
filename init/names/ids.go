package names

import (
	"encoding/binary"
	"encoding/hex"
	"path"
	"strings"

	"keelson/runtime/readfile"
)

// ids returns the names of a disk by model and serial number, and those that are unique in the
// world.
func ids(d Device) []string {
	var all []string
	add := func(bus, id string) {
		if id != "" {
			all = append(all, bus+"-"+id)
		}
	}
	dir := d.whole()
	node := path.Base(dir)
	switch {
	case strings.HasPrefix(node, "vd"):
		add("virtio", replaced(attribute(dir, "serial")))
	case strings.HasPrefix(node, "nvme"):
		add("nvme", replaced(attribute(dir, "wwid")))
		if serial := replaced(attribute(dir, "device/serial")); serial != "" {
			add("nvme", joined(replaced(attribute(dir, "device/model")), serial))
		}
	case strings.HasPrefix(node, "mmcblk"):
		if serial := replaced(attribute(dir, "device/serial")); serial != "" {
			add("mmc", joined(replaced(attribute(dir, "device/name")), serial))
		}
	case strings.HasPrefix(node, "dm-"):
		add("dm-name", replaced(attribute(dir, "dm/name")))
		add("dm-uuid", replaced(attribute(dir, "dm/uuid")))
	case strings.HasPrefix(node, "sd"), strings.HasPrefix(node, "sr"):
		all = append(all, scsiIDs(dir)...)
	}
	return all
}

// scsiIDs returns the names of a disk behind SCSI: one on USB is named after that, one on ATA
// after its own identification.
func scsiIDs(dir string) []string {
	if id := usbID(dir); id != "" {
		return []string{"usb-" + id}
	}
	unit := ancestor(dir, "scsi", "scsi_device")
	if unit == "" {
		return nil
	}
	var all []string
	if id := ataID(page(unit, "89")); id != "" {
		all = append(all, "ata-"+id)
	} else if id := designator(page(unit, "83")); id != "" {
		all = append(all, "scsi-"+id)
	}
	if name, ok := strings.CutPrefix(attribute(unit, "wwid"), "naa."); ok {
		all = append(all, "wwn-0x"+replaced(name))
	}
	return all
}

// page returns a page of vital product data of a SCSI device.
func page(unit, number string) []byte {
	b, err := readfile.Limited(unit+"/vpd_pg"+number, attributeLimit)
	if err != nil {
		return nil
	}
	return b
}

// ataID returns model and serial number in a page 0x89, which contains the IDENTIFY DEVICE data
// of an ATA disk from byte 60. Its strings have their bytes swapped in pairs.
func ataID(page []byte) string {
	const identify, serial, model = 60, 10 * 2, 27 * 2
	if len(page) < identify+512 {
		return ""
	}
	b := page[identify:]
	number := replaced(swapped(b[serial : serial+20]))
	name := replaced(swapped(b[model : model+40]))
	if name == "" {
		return ""
	}
	return joined(name, number)
}

func swapped(b []byte) string {
	out := make([]byte, len(b))
	for i := 0; i+1 < len(b); i += 2 {
		out[i], out[i+1] = b[i+1], b[i]
	}
	return string(out)
}

// Types of designators in a page 0x83 and the code set of text (SPC-4, 7.8.6).
const (
	vendorSpecific = 0
	t10Vendor      = 1
	eui64          = 2
	naa            = 3
	codeASCII      = 2
)

// designator returns the best identification of a logical unit in a page 0x83, after the digit of
// its type: the registered name, else a EUI-64, else text of the vendor.
func designator(page []byte) string {
	if len(page) < 4 || page[1] != 0x83 {
		return ""
	}
	rest := page[4:min(len(page), 4+int(binary.BigEndian.Uint16(page[2:])))]
	found := map[byte]string{}
	for len(rest) >= 4 && len(rest) >= 4+int(rest[3]) {
		codes, kind, value := rest[0]&0xf, rest[1]&0xf, rest[4:4+int(rest[3])]
		isUnit := rest[1]&0x30 == 0
		rest = rest[4+len(value):]
		if !isUnit || found[kind] != "" || len(value) == 0 {
			continue
		}
		if kind == naa || kind == eui64 {
			found[kind] = hex.EncodeToString(value)
		} else if codes == codeASCII {
			found[kind] = replaced(string(value))
		}
	}
	for _, kind := range []byte{naa, eui64, t10Vendor, vendorSpecific} {
		if found[kind] != "" {
			return string('0'+rune(kind)) + found[kind]
		}
	}
	return ""
}
