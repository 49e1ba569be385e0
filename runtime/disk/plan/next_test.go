package plan

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"keelson/runtime/blkid"
)

const id = "01234567-89ab-cdef-0123-456789abcdef"

// Devices of the tests.
func empty(name string) Device { return Device{Name: name, Size: 1 << 30, Zero: true} }

func with(name, kind, label string) Device {
	return Device{Name: name, Size: 1 << 30, Content: blkid.Content{Type: kind, Label: label, UUID: id}}
}

func part(d Device, disk string, start int64) Device {
	d.Disk, d.Part, d.Start, d.Size = disk, 1, start, 512<<20
	return d
}

// mounted returns the device as mounted.
func on(d Device, targets ...string) Device {
	d.Mounts = targets
	return d
}

func tabled(d Device, kind string, names ...string) Device {
	d.Zero, d.Table = false, &Table{Kind: kind, Names: names}
	return d
}

func marked(d Device, m Mark) Device {
	d.Zero, d.Mark = false, &m
	return d
}

func state(devices ...Device) State {
	s := State{Devices: devices, Paths: map[string]string{}}
	for _, d := range devices {
		s.Paths["/dev/"+d.Name] = d.Name
	}
	return s
}

// did returns a list of actions from OP DEVICE.
func did(texts ...string) []Action {
	var all []Action
	for _, text := range texts {
		op, device, _ := strings.Cut(text, ":")
		all = append(all, Action{Op: Op(op), Device: device})
	}
	return all
}

func TestNext(t *testing.T) {
	data := Want{Label: "data", Type: Ext4, Format: []string{"/dev/vda"}, Check: true, Grow: true, Mount: "/m"}
	table := data
	table.Table = GPT
	anywhere := data
	anywhere.Format = []string{Any}
	crypt := data
	crypt.Crypt = "c"
	device := Want{Device: "/dev/vda", Type: Ext4, Mount: "/m"}
	format := Want{Device: "/dev/vda", Type: Ext4, Format: []string{"/dev/vda"}, Table: DOS}
	swap := Want{Label: "s", Type: Swap, Use: true, Format: []string{"/dev/vda"}}
	force := format
	force.Force = true
	mark, tableMark := Mark{Type: Ext4, Label: "data", UUID: id}, Mark{Table: GPT, Type: Ext4, Label: "data", UUID: id}
	other := with("vda", Ext4, "data")
	other.Content.UUID = "ffffffff-89ab-cdef-0123-456789abcdef"
	otherPart := part(other, "vda", 1<<20)
	otherPart.Name = "vda1"
	luks, open := with("vda", LUKS, "data"), with("dm-0", Ext4, "data")
	luks.Holders, open.Mapped = []string{"dm-0"}, "c"
	freshLUKS, unknown := luks, open
	freshLUKS.Fresh, unknown.Content = true, blkid.Content{}
	wrong := open
	wrong.Name = "dm-1"
	readOnly, removable, tiny, foreign := empty("vda"), empty("vda"), empty("vda"), empty("vda")
	readOnly.ReadOnly, removable.Removable, tiny.Size, foreign.Zero = true, true, 1<<20, false
	bad := empty("vda")
	bad.Zero, bad.Problem = false, "cannot be read: input/output error"
	member := with("vda", "LVM2_member", "data")
	held := luks
	held.Content = with("", Ext4, "data").Content
	swapping := with("vda", Swap, "s")
	swapping.SwapOn = true
	vfat := with("vda", VFAT, "data")
	smallBtrfs := with("vda", Btrfs, "data")
	smallBtrfs.Size = 256<<20 - 1
	logical := part(with("vda5", Ext4, "data"), "vda", 1<<20)
	logical.Part = 5
	for _, c := range []struct {
		name string
		want Want
		s    State
		did  []Action
		next string // OP DEVICE, "absent" or part of the error
	}{
		// Formatting a whole disk.
		{"nothing", data, state(), nil, "absent no file system has the label data; looked at: no disks; there is no /dev/vda"},
		{"not the disk", data, state(empty("vdb")), nil, "absent"},
		{"empty", data, state(empty("vda")), nil, "mark vda"},
		{"marked", data, state(marked(empty("vda"), mark)), nil, "mkfs vda"},
		{"marked, made in an earlier boot", data, state(marked(with("vda", Ext4, "data"), mark)), nil, "mkfs vda"},
		{"made", data, state(marked(with("vda", Ext4, "data"), mark)), did("mkfs:vda"), "unmark vda"},
		{"made and used by others", data, state(marked(other, mark)), nil, "was being formatted, and contains ext4 since: left alone"},
		{"marked by another", data, state(marked(empty("vda"), Mark{Type: XFS, Label: "data", UUID: id})), nil, "is not empty: left alone"},
		{"marked and in use", data, state(marked(on(with("vda", Ext4, "x"), "/x"), mark)), nil, "vda was being formatted, and is mounted on /x"},
		{"marked, and another is complete", data, state(marked(empty("vda"), mark), with("vdb", Ext4, "data")), nil, "check vdb"},
		{"not empty", data, state(foreign), nil, "no file system has the label data, and /dev/vda is not empty: left alone"},
		{"another label", data, state(with("vda", Ext4, "other")), nil, "/dev/vda contains ext4: left alone"},
		{"a table", data, state(tabled(empty("vda"), GPT)), nil, "/dev/vda has a partition table (gpt): left alone"},
		{"partitions", data, state(empty("vda"), part(empty("vda1"), "vda", 1<<20)), nil, "/dev/vda has partitions: left alone"},
		{"unreadable", data, state(bad), nil, "/dev/vda cannot be read: input/output error: left alone"},
		{"read-only", data, state(readOnly), nil, "/dev/vda is read-only: left alone"},
		{"small", data, state(tiny), nil, "/dev/vda is too small: left alone"},
		{"empty, mounted", data, state(on(empty("vda"), "/x")), nil, "/dev/vda is mounted on /x: left alone"},
		{"any", anywhere, state(with("vda", Ext4, "x"), empty("vdb"), empty("vdc")), nil, "mark vdb"},
		{"any, removable", anywhere, state(removable), nil, "absent"},
		{"any, of a RAID", anywhere, state(member), nil, "/dev/vda contains LVM2_member: left alone"},
		{"any, begun", anywhere, state(empty("vda"), marked(empty("vdb"), mark)), nil, "mkfs vdb"},

		// With a partition table.
		{"table: empty", table, state(empty("vda")), nil, "mark vda"},
		{"table: marked", table, state(marked(empty("vda"), tableMark)), nil, "partition vda"},
		{"table: written in an earlier boot", table, state(tabled(marked(empty("vda"), tableMark), GPT), part(empty("vda1"), "vda", 1<<20)), nil, "partition vda"},
		{"table: written", table, state(tabled(marked(empty("vda"), tableMark), GPT), part(empty("vda1"), "vda", 1<<20)), did("partition:vda"), "mkfs vda1"},
		{"table: not found", table, state(marked(empty("vda"), tableMark)), did("partition:vda"), "the kernel does not find the partition on vda"},
		{"table: half written", table, state(marked(empty("vda"), tableMark), part(empty("vda1"), "vda", 2<<20)), nil, "partition vda"},
		{"table: made", table, state(marked(empty("vda"), tableMark), part(with("vda1", Ext4, "data"), "vda", 1<<20)), did("partition:vda", "mkfs:vda1"), "unmark vda"},
		{"table: something else", table, state(marked(empty("vda"), tableMark), part(with("vda1", XFS, "data"), "vda", 1<<20)), did("partition:vda", "mkfs:vda1"), "unmark vda"},
		{"table: data", table, state(marked(empty("vda"), tableMark), otherPart), nil, "left alone"},

		// A file system that is there.
		{"check", data, state(with("vdb", Ext4, "data")), nil, "check vdb"},
		{"mount", data, state(with("vdb", Ext4, "data")), did("check:vdb"), "mount vdb"},
		{"not mounted", data, state(with("vdb", Ext4, "data")), did("check:vdb", "mount:vdb"), "vdb was mounted on /m, and is not there"},
		{"grow", data, state(on(with("vdb", Ext4, "data"), "/m")), did("check:vdb", "mount:vdb"), "grow vdb"},
		{"mounted by an earlier attempt", data, state(on(with("vdb", Ext4, "data"), "/m")), nil, "grow vdb"},
		{"mounted elsewhere: not checked", data, state(on(with("vdb", Ext4, "data"), "/x")), nil, "mount vdb"},
		{"all", data, state(on(with("vdb", Ext4, "data"), "/m")), did("grow:vdb"), ""},
		{"vfat", data, state(on(vfat, "/m")), nil, ""},
		{"small btrfs", data, state(on(smallBtrfs, "/m")), nil, ""},
		{"large btrfs", data, state(on(with("vdb", Btrfs, "data"), "/m")), nil, "grow vdb"},
		{"another type", data, state(with("vdb", XFS, "data")), did("check:vdb"), "mount vdb"},
		{"swap with the label", data, state(with("vdb", Swap, "data")), nil, "absent"},
		{"several", data, state(with("vda", Ext4, "data"), with("vdb", Ext4, "data")), nil, "several devices are possible, none is chosen: file system with the label data: vda vdb"},
		{"member", data, state(held), nil, "left alone"},

		// Growing a partition.
		{"partition", data, state(tabled(empty("vda"), GPT), part(with("vda1", Ext4, "data"), "vda", 1<<20)), nil, "grow partition vda1"},
		{"partition has grown", data, state(tabled(empty("vda"), GPT), part(with("vda1", Ext4, "data"), "vda", 1<<20)), did("grow partition:vda1"), "check vda1"},
		{"partition has all", data, state(tabled(empty("vda"), GPT), part(with("vda1", Ext4, "data"), "vda", 511<<20)), nil, "check vda1"},
		{"not the last partition", data, state(tabled(empty("vda"), GPT), part(with("vda1", Ext4, "data"), "vda", 1<<20), part(empty("vda2"), "vda", 600<<20)), nil, "check vda1"},
		{"a logical partition", data, state(tabled(empty("vda"), DOS), logical), nil, "check vda5"},
		{"a torn table", data, state(tabled(empty("vda"), GPT, "boot", "data")), nil, "repair table vda"},
		{"repaired in vain", data, state(tabled(empty("vda"), GPT, "boot", "data")), did("repair table:vda"), "left alone"},
		{"the table of others", data, state(tabled(empty("vda"), GPT, "boot")), nil, "left alone"},

		// Encrypted volumes.
		{"crypt: empty", crypt, state(empty("vda")), nil, "mark vda"},
		{"crypt: formatted", crypt, state(marked(with("vda", LUKS, "data"), Mark{Type: LUKS, Label: "data", UUID: id})), did("mkfs:vda"), "unmark vda"},
		{"crypt: closed", crypt, state(with("vda", LUKS, "data")), nil, "open vda"},
		{"crypt: no mapped device", crypt, state(with("vda", LUKS, "data")), did("open:vda"), "there is no mapped device c"},
		{"crypt: fresh", crypt, state(unknown, freshLUKS), did("open:vda"), "mkfs dm-0"},
		{"crypt: fresh, made in an earlier boot", crypt, state(open, freshLUKS), did("open:vda"), "mkfs dm-0"},
		{"crypt: made", crypt, state(open, freshLUKS), did("mkfs:dm-0"), "ready vda"},
		{"crypt: fresh, not to be formatted", Want{Label: "data", Type: Ext4, Crypt: "c", Mount: "/m"}, state(unknown, freshLUKS), nil, "does not continue"},
		{"crypt: fresh, mounted", crypt, state(on(open, "/x"), freshLUKS), nil, "is mounted on /x"},
		{"crypt: unknown content", crypt, state(unknown, luks), nil, "the encrypted volume on vda contains no file system that can be used: left alone"},
		{"crypt: check", crypt, state(open, luks), nil, "check dm-0"},
		{"crypt: mount", crypt, state(open, luks), did("check:dm-0"), "mount dm-0"},
		{"crypt: the name is taken", crypt, state(wrong, with("vda", LUKS, "data")), nil, "the mapped device c exists, and is not that of vda"},
		{"crypt: a file system without encryption", crypt, state(with("vda", Ext4, "data")), nil, "no encrypted volume has the label data, and /dev/vda contains ext4: left alone"},

		// By a path.
		{"device: absent", device, state(), nil, "absent /dev/vda does not exist; there are: no disks"},
		{"device: mount", device, state(with("vda", XFS, "")), nil, "mount vda"},
		{"device: its partition", device, state(tabled(empty("vda"), GPT), part(with("vda1", XFS, ""), "vda", 1<<20)), nil, "mount vda1"},
		{"device: its partitions", device, state(tabled(empty("vda"), GPT), part(with("vda1", XFS, ""), "vda", 1<<20), part(empty("vda2"), "vda", 600<<20)), nil, "/dev/vda has several partitions, none is chosen: vda1 vda2"},
		{"device: empty", device, state(empty("vda")), nil, "vda is empty, and is not one to be formatted: left alone"},
		{"device: swap", device, state(with("vda", Swap, "")), nil, "vda contains swap: left alone"},
		{"format: empty", format, state(empty("vda")), nil, "mark vda"},
		{"format: done in an earlier boot", format, state(tabled(empty("vda"), DOS), part(with("vda1", Ext4, ""), "vda", 1<<20)), nil, ""},
		{"format: begun", format, state(marked(empty("vda"), Mark{Table: DOS, Type: Ext4, UUID: id})), nil, "partition vda"},
		{"format: something", format, state(foreign), nil, "vda is not empty: left alone"},
		{"force", force, state(with("vda", XFS, "")), nil, "wipe vda"},
		{"force: wiped", force, state(empty("vda")), did("wipe:vda"), "mark vda"},
		{"force: made", force, state(tabled(empty("vda"), DOS), part(with("vda1", Ext4, ""), "vda", 1<<20)), did("wipe:vda"), ""},
		{"force: in use", force, state(on(with("vda", XFS, ""), "/x")), nil, "vda is mounted on /x: not formatted"},
		{"force: a partition in use", force, state(tabled(empty("vda"), DOS), part(on(with("vda1", XFS, ""), "/x"), "vda", 1<<20)), nil, "vda has vda1, which is mounted on /x: not formatted"},

		// Without a name.
		{"first", Want{Type: Ext4, Mount: "/m"}, state(with("vda", Swap, ""), with("vdb", XFS, ""), with("vdc", Ext4, "")), nil, "mount vdb"},
		{"first, others are mounted", Want{Type: Ext4, Mount: "/m"}, state(on(with("vdb", XFS, ""), "/x"), with("vdc", Ext4, "")), nil, "mount vdc"},

		// Swap.
		{"swap: on", swap, state(with("vdb", Swap, "s")), nil, "swap on vdb"},
		{"swap: is on", swap, state(swapping), nil, ""},
		{"swap: made", swap, state(empty("vda")), nil, "mark vda"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Next(c.want, c.s, c.did, id)
			got := strings.TrimSpace(fmt.Sprintf("%s %s", a.Op, a.Device))
			if err != nil {
				got = err.Error()
				if errors.As(err, new(*AbsentError)) {
					got = "absent " + got
				}
			}
			if err == nil && got != c.next || err != nil && (c.next == "" || !strings.Contains(got, c.next)) {
				t.Errorf("next is %q, want %q", got, c.next)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		w    Want
		want string
	}{
		{Want{Type: Ext4, Label: "sixteen-bytes-xx", Crypt: "c", Wait: time.Second}, ""},
		{Want{Type: Ext4, Label: "seventeen-bytes-x"}, "longer than 16 bytes"},
		{Want{Type: XFS, Label: "thirteen-char"}, "longer than 12 bytes"},
		{Want{Type: "zfs"}, `type "zfs"`},
		{Want{Type: LUKS}, "cannot make"},
		{Want{Type: Ext4, Table: "bsd"}, "bsd"},
		{Want{Type: Ext4, Label: "a\nb"}, "printable"},
		{Want{Type: Ext4, Label: `a"b`}, "printable"},
		{Want{Type: Ext4, Label: "\xff"}, "printable"},
		{Want{Type: Ext4, Crypt: "../x"}, "mapped device"},
		{Want{Type: Ext4, Force: true}, "needs a device"},
		{Want{Type: Swap, Crypt: "c"}, "not supported"},
	} {
		if err := c.w.Validate(); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.w, err, c.want)
		}
	}
}

func FuzzParseMark(f *testing.F) {
	b, err := Mark{Table: GPT, Type: Ext4, Label: "data", UUID: id}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(append([]byte(magic), `{"type":"ext4","uuid":"x"}`...))
	f.Add(make([]byte, MarkSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := ParseMark(b)
		if m == nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if got := ParseMark(again); got == nil || *got != *m {
			t.Errorf("%+v became %+v", m, got)
		}
	})
}

func TestMark(t *testing.T) {
	m := Mark{Type: LUKS, Label: strings.Repeat("l", 47), UUID: id}
	b, err := m.Encode()
	if got := ParseMark(b); err != nil || len(b) != MarkSize || got == nil || *got != m {
		t.Errorf("%+v became %+v, %v", m, got, err)
	}
	for _, bad := range []Mark{{Type: Ext4, UUID: "x"}, {Type: "zfs", UUID: id}, {Type: Ext4, UUID: id, Table: "x"}, {Type: XFS, UUID: id, Label: "much too long"}} {
		if b, err := bad.Encode(); err != nil || ParseMark(b) != nil {
			t.Errorf("%+v is accepted (%v)", bad, err)
		}
	}
}
