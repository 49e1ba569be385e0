package plan

import (
	"fmt"
	"slices"
)

// Op is what an Action does.
type Op string

// Ops.
const (
	None        Op = ""               // nothing is left to do
	Wipe        Op = "wipe"           // overwrite what is recognised on a device and its partitions
	SetMark     Op = "mark"           // write Mark to an empty device
	ClearMark   Op = "unmark"         // remove the mark: formatting is complete
	Partition   Op = "partition"      // write the partition table of Mark, with one partition
	RepairTable Op = "repair table"   // write the first copy of a GPT anew from the last one
	MakeFS      Op = "mkfs"           // make the file system, swap area or volume of Mark, in Size bytes
	OpenCrypt   Op = "open"           // map an encrypted volume as Name
	CryptReady  Op = "ready"          // remove FreshSubsystem
	GrowPart    Op = "grow partition" // to the end of the disk
	CheckFS     Op = "check"          // and repair what needs no decision
	MountFS     Op = "mount"          // on Target
	SwapOn      Op = "swap on"        //
	GrowFS      Op = "grow"           // the file system on Target, to the size of its device
)

// Action is one step.
type Action struct {
	Op     Op
	Device string // the name of the device
	Part   int    // of a partition: its number
	Disk   string // of a partition: its disk
	Table  string // of a disk: the kind of its table
	Type   string
	Size   int64 // in bytes
	Mark   Mark
	Name   string
	Target string
}

// String describes the action as a message of what is being done; it is empty for one that is no
// news in every boot.
func (a Action) String() string {
	switch a.Op {
	case Wipe:
		return fmt.Sprintf("overwriting what is on %s, as -force says", a.Device)
	case Partition:
		return fmt.Sprintf("making a partition table (%s) on %s, which is empty", a.Mark.Table, a.Device)
	case RepairTable:
		return fmt.Sprintf("repairing the partition table of %s from its copy", a.Device)
	case MakeFS:
		return fmt.Sprintf("making %s on %s", a.Type, a.Device)
	case GrowPart:
		return fmt.Sprintf("growing partition %s to the end of %s", a.Device, a.Disk)
	}
	return ""
}

// done reports whether an action of this kind was done with the device.
func done(did []Action, op Op, device string) bool {
	return slices.ContainsFunc(did, func(a Action) bool { return a.Op == op && a.Device == device })
}
