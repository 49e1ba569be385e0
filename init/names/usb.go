package names

import (
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// usbID returns the identification of the USB device to which a disk or serial port belongs:
// maker, product and serial number, and for a disk the unit in it. It is empty for other devices.
func usbID(dir string) string {
	iface := ancestor(dir, "usb", "usb_interface")
	device := ancestor(dir, "usb", "usb_device")
	if iface == "" || device == "" {
		return ""
	}
	var vendor, model, unit string
	const massStorage = "08"
	if scsi := ancestor(dir, "scsi", "scsi_device"); scsi != "" && attribute(iface, "bInterfaceClass") == massStorage {
		vendor, model = replaced(attribute(scsi, "vendor")), replaced(attribute(scsi, "model"))
		if parts := strings.Split(path.Base(scsi), ":"); len(parts) == 4 {
			unit = "-" + parts[2] + ":" + parts[3]
		}
	}
	first := func(values ...string) string {
		for _, v := range values {
			if v != "" {
				return v
			}
		}
		return ""
	}
	vendor = first(vendor, replaced(attribute(device, "manufacturer")), replaced(attribute(device, "idVendor")))
	model = first(model, replaced(attribute(device, "product")), replaced(attribute(device, "idProduct")))
	serial := attribute(device, "serial")
	if strings.ContainsFunc(serial, func(r rune) bool { return r < ' ' || r > 0x7f || r == ',' }) {
		serial = "" // Some devices have garbage there.
	}
	return joined(vendor, model, replaced(serial)) + unit
}

// ports returns the serial ports on USB.
func ports(sys string) []Device {
	var all []Device
	links, _ := filepath.Glob(sys + "/class/tty/tty[UA][SC][BM]*") // ttyUSB and ttyACM
	for _, link := range links {
		dir, err := filepath.EvalSymlinks(link)
		if err != nil {
			continue // It has been removed.
		}
		d := Device{dir: dir, Node: properties(dir)["DEVNAME"], Number: attribute(dir, "dev"), USB: true}
		id, iface := usbID(dir), ancestor(dir, "usb", "usb_interface")
		if id == "" || !isNode(d.Node) {
			continue
		}
		name := "serial/by-id/usb-" + id + "-if" + replaced(attribute(iface, "bInterfaceNumber"))
		if port := ancestor(dir, "usb-serial"); port != "" {
			if n, err := strconv.Atoi(attribute(port, "port_number")); err == nil {
				name += "-port" + strconv.Itoa(n)
			}
		}
		d.Names = []string{name}
		all = append(all, d)
	}
	return all
}
