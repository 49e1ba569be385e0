package names

import (
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// paths returns the names of a disk by where it is attached: those of the buses between it and
// the processor. A disk without a bus that identifies it, such as a mapped device, has none.
func paths(sys, disk string) []string {
	dir, name, ata, virtio, transport := disk, "", "", false, false
	put := func(part string) {
		if name != "" {
			part += "-" + name
		}
		name = part
	}
	for dir != sys && len(dir) > 1 {
		kind := subsystem(dir)
		switch kind {
		case "scsi":
			part, top := scsiPath(sys, dir)
			if part == "" {
				break
			}
			put(part)
			transport, dir = true, top
			if port, ok := strings.CutPrefix(part, "ata-"); ok {
				ata = "ata-" + strings.TrimSuffix(port, ".0")
			}
		case "nvme":
			if ns := attribute(disk, "nsid"); ns != "" && !transport {
				put("nvme-" + ns)
				transport = true
			}
		case "virtio":
			virtio, transport = true, true
		case "usb":
			top := topmost(dir, "usb")
			if _, port, ok := strings.Cut(path.Base(dir), "-"); ok {
				put("usb-0:" + port)
				transport = true
			}
			dir = top
		case "pci":
			put("pci-" + path.Base(dir))
			dir = topmost(dir, "pci")
		case "platform":
			put("platform-" + path.Base(dir))
			dir, transport = topmost(dir, "platform"), true
		}
		dir = path.Dir(dir)
	}
	if !transport || name == "" {
		return nil
	}
	name = replaced(name)
	all := []string{name}
	if ata != "" && strings.HasSuffix(name, ".0") {
		all = append(all, strings.TrimSuffix(name, ".0"))
	}
	if virtio {
		all = append(all, "virtio-"+name)
	}
	return all
}

// topmost returns the highest folder of a subsystem on the way up from dir without another
// subsystem between.
func topmost(dir, kind string) string {
	for up := path.Dir(dir); len(up) > 1; up = path.Dir(up) {
		switch subsystem(up) {
		case kind:
			dir = up
		case "":
		default:
			return dir
		}
	}
	return dir
}

// scsiPath returns the part for a SCSI device and the folder to go on from: that of its host,
// or of the port of ATA. Hosts are numbered by appearance in the system, and therefore counted
// from the first one of the same controller.
func scsiPath(sys, dir string) (part, top string) {
	if properties(dir)["DEVTYPE"] != "scsi_device" {
		return "", ""
	}
	var host, channel, target, lun int
	if _, err := fmt.Sscanf(path.Base(dir), "%d:%d:%d:%d", &host, &channel, &target, &lun); err != nil {
		return "", ""
	}
	above := ancestor(dir, "scsi", "scsi_host")
	if above == "" {
		return "", ""
	}
	if port := path.Base(path.Dir(above)); strings.HasPrefix(port, "ata") {
		number := attribute(sys, "class/ata_port", port, "port_no")
		if number == "" {
			return "", ""
		}
		return fmt.Sprintf("ata-%s.%d", number, target), path.Dir(above)
	}
	first := host
	siblings, _ := filepath.Glob(path.Dir(above) + "/host[0-9]*") // A path of sysfs has no special characters.
	for _, s := range siblings {
		if n, err := strconv.Atoi(strings.TrimPrefix(path.Base(s), "host")); err == nil {
			first = min(first, n)
		}
	}
	return fmt.Sprintf("scsi-%d:%d:%d:%d", host-first, channel, target, lun), above
}
