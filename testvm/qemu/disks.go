package qemu

import (
	"fmt"
	"slices"
	"strconv"
)

// bus is a way to connect a disk.
type bus struct {
	device     string // value of -device, without "drive="; empty for the machine's SD card slot
	controller string // device needed once before the first disk; may be empty
	serial     bool   // the disk must have a serial number
	order      bool   // supports bootindex
	media      string // cdrom or nothing
}

// Buses are the names of all buses for disks.
var Buses = []string{"virtio", "nvme", "sata", "ide", "usb", "sd", "cdrom"}

// busOf returns the bus of a disk on c's machine, by default virtio.
func busOf(c Config, name string) bus {
	switch name {
	case "nvme":
		return bus{device: "nvme", serial: true, order: true}
	case "sata", "ide":
		if c.Arch == AMD64 { // The machines have a controller.
			return bus{device: "ide-hd", order: true}
		}
		return bus{device: "ide-hd", controller: "ich9-ahci", order: true}
	case "usb":
		return bus{device: "usb-storage", controller: "qemu-xhci", order: true}
	case "sd":
		if machines[c.Machine].board != nil { // A slot of its own.
			return bus{}
		}
		return bus{device: "sd-card", controller: "sdhci-pci"}
	case "cdrom":
		if c.Arch == AMD64 {
			return bus{device: "ide-cd", order: true, media: "cdrom"}
		}
		return bus{device: "scsi-cd", controller: "virtio-scsi-pci", order: true, media: "cdrom"}
	}
	return bus{device: virtio(c, "blk"), order: true}
}

func diskArgs(c Config) []string {
	var args, controllers []string
	for i, d := range c.Disks {
		b := busOf(c, d.Bus)
		if b.controller != "" && !slices.Contains(controllers, b.controller) {
			controllers = append(controllers, b.controller)
			args = append(args, "-device", b.controller)
		}
		drive, device := b.args("disk"+strconv.Itoa(i), d)
		if c.Firmware != "" && b.order {
			device += ",bootindex=" + strconv.Itoa(i)
		}
		args = append(args, "-drive", drive)
		if b.device != "" {
			args = append(args, "-device", device)
		}
	}
	return args
}

// args returns the values of -drive and -device.
func (b bus) args(id string, d Disk) (drive, device string) {
	format := d.Format
	if format == "" {
		format = "raw"
	}
	slot := "none"
	if b.device == "" {
		slot = "sd"
	}
	drive = fmt.Sprintf("if=%s,id=%s,format=%s,file=%s", slot, id, format, escape(d.Path))
	if d.Log != "" {
		drive = "if=none,id=" + id + "," + LogNode(d.Path, format, d.Log)
	}
	if b.media != "" {
		drive += ",media=" + b.media
	}
	if d.ReadOnly || b.media != "" {
		drive += ",readonly=on"
	}
	device = b.device + ",drive=" + id
	if d.Log != "" {
		device += ",physical_block_size=4096,discard=off"
	}
	if b.serial {
		device += ",serial=" + id
	}
	return drive, device
}

// LogNode returns the options of a node of QEMU's block layer that stores a disk in a file
// and logs all writes. Nothing is flushed to the host's disk, because the log only has to
// survive the end of QEMU.
func LogNode(path, format, log string) string {
	return fmt.Sprintf("driver=blklogwrites,file.driver=%s,file.file.driver=file,file.file.filename=%s,file.file.cache.no-flush=on,"+
		"log.driver=raw,log.file.driver=file,log.file.filename=%s,log.file.cache.no-flush=on", format, escape(path), escape(log))
}
