package plan

import (
	"slices"
	"strings"

	"keelson/runtime/blkid"
)

// FreshSubsystem is the subsystem in the header of a LUKS2 volume that contains nothing yet.
const FreshSubsystem = "keelson-new"

// Device is a disk, partition or mapped device.
type Device struct {
	Name      string // the kernel's, such as vda1
	Size      int64  // in bytes
	Disk      string // of a partition: the name of its disk
	Part      int    // of a partition: its number
	Start     int64  // of a partition: its first byte on the disk
	Mapped    string // of a mapped device: its name
	Removable bool
	ReadOnly  bool
	Holders   []string // devices that are made of it
	Mounts    []string // where it is mounted
	SwapOn    bool

	Content blkid.Content
	Fresh   bool   // an encrypted volume with FreshSubsystem
	Zero    bool   // nothing is recognised, and its first 4 MiB and its last one are zeros
	Mark    *Mark  // it is being formatted
	Table   *Table // of a disk: its partition table
	Problem string // why its content is not known
}

// Table is a partition table as it is on the disk, whether or not the kernel knows it.
type Table struct {
	Kind  string   // GPT, DOS or another one
	Names []string // of the partitions; empty ones with DOS
}

// State is what the disks of a machine are.
type State struct {
	Devices []Device          // in the order in which they are tried
	Paths   map[string]string // the names of devices by the paths of a Want
}

func (s State) device(name string) *Device {
	i := slices.IndexFunc(s.Devices, func(d Device) bool { return d.Name == name })
	if name == "" || i < 0 {
		return nil
	}
	return &s.Devices[i]
}

func (s State) mapped(name string) *Device {
	i := slices.IndexFunc(s.Devices, func(d Device) bool { return d.Mapped == name })
	if name == "" || i < 0 {
		return nil
	}
	return &s.Devices[i]
}

// partitions returns those of a disk.
func (s State) partitions(disk string) []*Device {
	var all []*Device
	for i := range s.Devices {
		if s.Devices[i].Disk == disk {
			all = append(all, &s.Devices[i])
		}
	}
	return all
}

// mark returns the mark that a device has, or that of the disk of a partition, with its device.
func (s State) mark(d *Device) (*Mark, *Device) {
	if d.Mark != nil {
		return d.Mark, d
	}
	if disk := s.device(d.Disk); disk != nil && disk.Mark != nil {
		return disk.Mark, disk
	}
	return nil, nil
}

// used says by what a device is in use, or is empty.
func (s State) used(d *Device) string {
	switch {
	case len(d.Mounts) > 0:
		return "is mounted on " + strings.Join(d.Mounts, ", ")
	case len(d.Holders) > 0:
		return "is in use by " + strings.Join(d.Holders, ", ")
	case d.SwapOn:
		return "is in use as swap"
	}
	for _, part := range s.partitions(d.Name) {
		if used := s.used(part); used != "" {
			return "has " + part.Name + ", which " + used
		}
	}
	return ""
}

// empty says what a device contains, or is empty.
func (s State) contents(d *Device) string {
	switch {
	case d.Problem != "":
		return d.Problem
	case d.Content.Type != "":
		return "contains " + d.Content.Type
	case d.Table != nil:
		return "has a partition table (" + d.Table.Kind + ")"
	case len(s.partitions(d.Name)) > 0:
		return "has partitions"
	case !d.Zero:
		return "is not empty"
	}
	return ""
}

// sameUUID compares a UUID with that which mkfs was given; FAT has its first half of 8 digits.
func sameUUID(content blkid.Content, uuid string) bool {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "")) }
	if content.Type == VFAT {
		return plain(content.UUID) == VolumeID(uuid)
	}
	return plain(content.UUID) == plain(uuid)
}

// VolumeID returns the volume ID of a FAT file system with a UUID: 8 hexadecimal digits.
func VolumeID(uuid string) string {
	uuid = strings.ToLower(strings.ReplaceAll(uuid, "-", ""))
	return uuid[:min(8, len(uuid))]
}
