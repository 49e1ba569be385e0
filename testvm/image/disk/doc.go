// Package disk divides disks into partitions: a plan says which there are and
// what is in them, and is written to a sparse file with a GPT or MBR in front.
// It also tells what an image of a disk boots.
//
// It makes no file systems (package fsimage) and knows no format by name.
//
// Sizes and offsets are in bytes. Partitions begin at multiples of Alignment.
// Identifiers come from the plan's ID, so that the same plan gives the same
// bytes.
//
// Sources: the UEFI specification, 2.10, section 5 (GPT) and 3.5.1.1 (names of
// boot programs on removable media); sfdisk(8) for types of MBR partitions.
package disk
