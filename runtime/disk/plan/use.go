package plan

import (
	"fmt"
	"slices"
)

// slack is what may be free after a partition without it being grown: the builder leaves 1 MiB,
// and sfdisk aligns.
const slack = 2 << 20

// dosLimit is the end of the part of a disk that a DOS table can describe.
const dosLimit = (1<<32 - 1) * 512

// use returns the next step with a device that contains what is wanted.
func use(w Want, s State, d *Device, did []Action, uuid string) (Action, error) {
	if w.Grow && growable(s, d) && !done(did, GrowPart, d.Name) {
		disk := s.device(d.Disk)
		return Action{Op: GrowPart, Device: d.Name, Part: d.Part, Disk: d.Disk, Table: disk.Table.Kind}, nil
	}
	fs := d
	if w.Crypt != "" {
		a, err := open(w, s, d, did, uuid)
		if a.Op != None || err != nil {
			return a, err
		}
		fs = s.mapped(w.Crypt)
	}
	if fs.Content.Type == Swap {
		if w.Use && !fs.SwapOn {
			return Action{Op: SwapOn, Device: fs.Name}, nil
		}
		return Action{}, nil
	}
	return mounted(w, fs, did)
}

// growable reports whether a partition is the last one of its disk, with space after it.
func growable(s State, d *Device) bool {
	disk := s.device(d.Disk)
	if disk == nil || disk.Table == nil || disk.ReadOnly {
		return false
	}
	for _, other := range s.partitions(d.Disk) {
		if other.Start > d.Start {
			return false
		}
	}
	end := disk.Size
	if disk.Table.Kind == DOS {
		if d.Part > 4 { // In an extended partition.
			return false
		}
		end = min(end, dosLimit)
	}
	return end-d.Start-d.Size > slack
}

// open returns the next step until the file system in an encrypted volume can be used.
func open(w Want, s State, d *Device, did []Action, uuid string) (Action, error) {
	inner := s.mapped(w.Crypt)
	switch {
	case inner == nil && done(did, OpenCrypt, d.Name):
		return Action{}, fmt.Errorf("the encrypted volume on %s was opened, and there is no mapped device %s", d.Name, w.Crypt)
	case inner == nil:
		return Action{Op: OpenCrypt, Device: d.Name, Name: w.Crypt}, nil
	case !slices.Contains(d.Holders, inner.Name):
		return Action{}, fmt.Errorf("the mapped device %s exists, and is not that of %s", w.Crypt, d.Name)
	case d.Fresh && s.used(inner) != "":
		return Action{}, fmt.Errorf("the encrypted volume on %s was being formatted, and %s %s", d.Name, inner.Name, s.used(inner))
	case d.Fresh && len(w.Format) == 0:
		return Action{}, fmt.Errorf("the encrypted volume on %s was being formatted, which this does not continue", d.Name)
	case d.Fresh && !done(did, MakeFS, inner.Name):
		return Action{Op: MakeFS, Device: inner.Name, Type: w.Type, Size: inner.Size, Mark: Mark{Type: w.Type, Label: w.Label, UUID: uuid}}, nil
	case d.Fresh:
		return Action{Op: CryptReady, Device: d.Name}, nil
	case !slices.Contains(mountable, inner.Content.Type):
		return Action{}, fmt.Errorf("the encrypted volume on %s contains no file system that can be used: left alone", d.Name)
	}
	return Action{}, nil
}

// btrfsLeast is the size that the kernel gives btrfs at least (btrfs_ioctl_resize() of fs/btrfs/ioctl.c).
const btrfsLeast = 256 << 20

// grows reports whether a file system can grow to the size of its device.
func grows(fs *Device) bool {
	return fs.Content.Type != VFAT && (fs.Content.Type != Btrfs || fs.Size >= btrfsLeast)
}

// mounted returns the next step until a file system is checked, mounted and grown.
func mounted(w Want, fs *Device, did []Action) (Action, error) {
	there := slices.Contains(fs.Mounts, w.Mount)
	switch {
	case w.Mount == "":
		return Action{}, nil
	case w.Check && len(fs.Mounts) == 0 && !done(did, CheckFS, fs.Name) && !fs.ReadOnly:
		return Action{Op: CheckFS, Device: fs.Name, Type: fs.Content.Type}, nil
	case !there && done(did, MountFS, fs.Name):
		return Action{}, fmt.Errorf("%s was mounted on %s, and is not there", fs.Name, w.Mount)
	case !there:
		return Action{Op: MountFS, Device: fs.Name, Type: fs.Content.Type, Target: w.Mount}, nil
	case w.Grow && grows(fs) && !fs.ReadOnly && !done(did, GrowFS, fs.Name):
		return Action{Op: GrowFS, Device: fs.Name, Type: fs.Content.Type, Target: w.Mount}, nil
	}
	return Action{}, nil
}

// Found returns the device with what is wanted, after Next has nothing left to do: of an encrypted
// volume, the mapped one.
func Found(w Want, s State) (*Device, error) {
	if m := s.mapped(w.Crypt); m != nil {
		return m, nil
	}
	d, err := find(w, s)
	if err == nil && d == nil {
		err = fmt.Errorf("no %s", w.what())
	}
	return d, err
}
