// Package disk divides disks into partitions: a Plan lists the partitions and their
// content, and is written to a sparse file that starts with a GPT or MBR. The package
// also finds what a disk image boots.
//
// It makes no file systems (package fsimage) and knows no format by name.
//
// Sizes and offsets are in bytes. Partitions start at multiples of Alignment.
// Identifiers are derived from the plan's ID, so that the same plan gives the same
// bytes.
//
// Sources: the UEFI specification, 2.10, section 5 (GPT) and 3.5.1.1 (names of
// boot programs on removable media); sfdisk(8) for types of MBR partitions.
package disk
