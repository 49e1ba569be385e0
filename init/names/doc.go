// Package names keeps the links in /dev/disk/by-{id,uuid,label,partuuid,partlabel,path} and
// /dev/serial/by-id, whose names are those of udev. It is the role "names" of init: a process
// that makes the links for the devices that exist, and ends. The boot role starts it, and the
// supervisor after events of devices.
//
// Names by UUID and label are those of the content of a device, which has to be read
// (runtime/blkid). A disk that does not answer delays only its own names: each device is read
// by itself, the links of the others do not wait longer than a second, and a device that has
// not answered is not read again until an event reports it.
//
// If several devices claim a link, it leads to one of a disk that cannot be removed rather
// than to one on USB, then to a mapped device rather than to what it is made of, then to the
// one that has appeared first. It leads to the next one when that device disappears.
//
// It sets no owners, modes or other properties, and it does nothing if udev runs.
//
// Sources: systemd's rules.d/60-persistent-storage.rules and 60-serial.rules,
// src/udev/udev-builtin-path_id.c, udev-builtin-usb_id.c, ata_id and scsi_id for the names;
// the kernel's Documentation/ABI/stable/sysfs-block, testing/sysfs-bus-usb,
// testing/sysfs-block-dm; SPC-4 (page 0x83) and ATA8-ACS (IDENTIFY DEVICE).
package names
