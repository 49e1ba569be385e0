package names

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keelson/runtime/blkid"
	"keelson/runtime/uevent"
)

// sysfs makes a tree like /sys: device folders with attributes, of which "subsystem" is a link, and
// links in class for those of block, tty and ata_port.
func sysfs(t *testing.T, devices map[string]map[string]string) string {
	t.Helper()
	sys := filepath.Join(t.TempDir(), "sys")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(devices)) {
		full := filepath.Join(sys, "devices", dir)
		check(os.MkdirAll(full, 0o755))
		for name, value := range devices[dir] {
			if name != "subsystem" {
				check(os.MkdirAll(filepath.Dir(filepath.Join(full, name)), 0o755))
				check(os.WriteFile(filepath.Join(full, name), []byte(value), 0o644))
				continue
			}
			class := filepath.Join(sys, "class", value)
			check(os.MkdirAll(class, 0o755))
			check(os.Symlink(class, full+"/subsystem"))
			if value == "block" || value == "tty" || value == "ata_port" {
				check(os.Symlink(full, filepath.Join(class, filepath.Base(dir))))
			}
		}
	}
	return sys
}

// block returns the attributes of a disk.
func block(node, number, seq string, more ...string) map[string]string {
	a := map[string]string{"subsystem": "block", "dev": number + "\n", "size": "2048\n", "diskseq": seq + "\n", "removable": "0\n",
		"uevent": "DEVNAME=" + node + "\nDEVTYPE=disk\n"}
	for i := 0; i < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	return a
}

func kind(subsystem string, more ...string) map[string]string {
	a := map[string]string{"subsystem": subsystem}
	for i := 0; i < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	return a
}

// identify is a page 0x89 with model and serial number.
func identify(model, serial string) string {
	b := make([]byte, 60+512)
	for i := range 40 {
		b[60+54+i^1] = (model + strings.Repeat(" ", 40))[i]
	}
	for i := range 20 {
		b[60+20+i^1] = (strings.Repeat(" ", 20-len(serial)) + serial)[i]
	}
	return string(b)
}

// machine is one with a disk of each kind.
func machine(t *testing.T) string {
	const (
		ata = "pci0000:00/0000:00:1f.2/ata3"
		usb = "pci0000:00/0000:00:14.0/usb1/1-2"
		hba = "pci0000:00/0000:00:05.0/host7"
	)
	return sysfs(t, map[string]map[string]string{
		"pci0000:00/0000:00:04.0":                   kind("pci"),
		"pci0000:00/0000:00:04.0/virtio1":           kind("virtio"),
		"pci0000:00/0000:00:04.0/virtio1/block/vda": block("vda", "254:0", "1", "serial", "a b/c"),
		"pci0000:00/0000:00:04.0/virtio1/block/vda/vda2": {"subsystem": "block", "dev": "254:2", "size": "9", "start": "2048", "partition": "2\n",
			"uevent": "DEVNAME=vda2\nDEVTYPE=partition\nPARTN=2\nPARTNAME=my data\nPARTUUID=0A-1\n"},
		"pci0000:00/0000:00:1f.2":                            kind("pci"),
		ata + "/ata_port/ata3":                               kind("ata_port", "port_no", "2\n"),
		ata + "/host2":                                       kind("scsi", "uevent", "DEVTYPE=scsi_host\n"),
		ata + "/host2/target2:0:0":                           kind("scsi", "uevent", "DEVTYPE=scsi_target\n"),
		ata + "/host2/target2:0:0/2:0:0:0":                   kind("scsi", "uevent", "DEVTYPE=scsi_device\n", "vpd_pg89", identify("QEMU HARDDISK", "QM1"), "wwid", "naa.5000c500\n"),
		ata + "/host2/target2:0:0/2:0:0:0/block/sda":         block("sda", "8:0", "2"),
		"pci0000:00/0000:00:14.0":                            kind("pci"),
		"pci0000:00/0000:00:14.0/usb1":                       kind("usb", "uevent", "DEVTYPE=usb_device\n"),
		usb:                                                  kind("usb", "uevent", "DEVTYPE=usb_device\n", "serial", "77\n", "manufacturer", "Maker & Co\n", "product", "Port\n", "idVendor", "0403\n"),
		usb + "/1-2:1.0":                                     kind("usb", "uevent", "DEVTYPE=usb_interface\n", "bInterfaceClass", "08\n", "bInterfaceNumber", "00\n"),
		usb + "/1-2:1.0/host3":                               kind("scsi", "uevent", "DEVTYPE=scsi_host\n"),
		usb + "/1-2:1.0/host3/target3:0:0/3:0:0:1":           kind("scsi", "uevent", "DEVTYPE=scsi_device\n", "vendor", "../Ev\x01il ", "model", "Stick"),
		usb + "/1-2:1.0/host3/target3:0:0/3:0:0:1/block/sdb": block("sdb", "8:16", "3", "removable", "1"),
		usb + "/1-2:1.1":                                     kind("usb", "uevent", "DEVTYPE=usb_interface\n", "bInterfaceClass", "ff\n", "bInterfaceNumber", "01\n"),
		usb + "/1-2:1.1/ttyUSB0":                             kind("usb-serial", "port_number", "0\n"),
		usb + "/1-2:1.1/ttyUSB0/tty/ttyUSB0":                 kind("tty", "dev", "188:0", "uevent", "DEVNAME=ttyUSB0\n"),
		"platform/serial8250/tty/ttyS0":                      kind("tty", "dev", "4:64", "uevent", "DEVNAME=ttyS0\n"),
		"pci0000:00/0000:00:05.0":                            kind("pci"),
		hba:                                                  kind("scsi", "uevent", "DEVTYPE=scsi_host\n"),
		"pci0000:00/0000:00:05.0/host6":                      kind("scsi", "uevent", "DEVTYPE=scsi_host\n"),
		hba + "/target7:0:4/7:0:4:1":                         kind("scsi", "uevent", "DEVTYPE=scsi_device\n", "vpd_pg83", "\x00\x83\x00\x08\x02\x00\x00\x04ab c"),
		hba + "/target7:0:4/7:0:4:1/block/sdc":               block("sdc", "8:32", "4"),
		"pci0000:00/0000:00:06.0":                            kind("pci"),
		"pci0000:00/0000:00:06.0/nvme/nvme0":                 kind("nvme", "serial", "S1  \n", "model", "Fast Disk  \n"),
		"pci0000:00/0000:00:06.0/nvme/nvme0/nvme0n2":         block("nvme0n2", "259:0", "5", "nsid", "2\n", "wwid", "eui.00\n", "device/serial", "S1  \n", "device/model", "Fast Disk  \n"),
		"platform/soc/3f202000.mmc":                          kind("platform"),
		"platform/soc/3f202000.mmc/mmc_host/mmc0/mmc0:1":     kind("mmc"),
		"platform/soc/3f202000.mmc/mmc_host/mmc0/mmc0:1/block/mmcblk0":              block("mmcblk0", "179:0", "6", "device/name", "SD16G\n", "device/serial", "0x1234\n"),
		"platform/soc/3f202000.mmc/mmc_host/mmc0/mmc0:1/block/mmcblk0/mmcblk0boot0": block("mmcblk0boot0", "179:8", "7"),
		"virtual/block/dm-0":  block("dm-0", "253:0", "8", "dm/name", "secret\n", "dm/uuid", "CRYPT-LUKS2-1\n"),
		"virtual/block/dm-1":  block("dm-1", "253:1", "9", "dm/name", "keelson-x\n"),
		"virtual/block/loop0": block("loop0", "7:0", "10"),
		"virtual/block/sr0":   block("sr0", "11:0", "11", "size", "0\n"),
		"virtual/block/sdx":   block("../../etc/x", "8:99", "12"),
	})
}

// at returns a system with these devices, whose content is what read returns.
func at(t *testing.T, sys string, read func(node string, size int64) (blkid.Content, error)) System {
	t.Helper()
	dev := t.TempDir()
	var calls atomic.Int64
	return System{Sys: sys, Dev: dev, State: dev + "/state", Udev: dev + "/udev", asker: func() string { return fmt.Sprint(calls.Add(1)) }, alive: func(string) bool { return true }, read: func(node string, size int64) (blkid.Content, error) {
		return read(strings.TrimPrefix(node, dev+"/"), size)
	}}
}

// links returns the links below dev.
func links(t *testing.T, s System) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, folder := range folders {
		entries, _ := os.ReadDir(filepath.Join(s.Dev, folder))
		for _, e := range entries {
			to, err := os.Readlink(filepath.Join(s.Dev, folder, e.Name()))
			if errors.Is(err, fs.ErrNotExist) { // It has been removed since.
				continue
			}
			if err != nil || filepath.Dir(to) != "../.." {
				t.Errorf("%s: %s, %v", e.Name(), to, err)
			}
			all[folder+"/"+e.Name()] = filepath.Base(to)
		}
	}
	return all
}

func update(t *testing.T, s System, changed ...string) {
	t.Helper()
	if err := s.Update(t.Context(), changed, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
}

func TestNames(t *testing.T) {
	s := at(t, machine(t), func(node string, _ int64) (blkid.Content, error) {
		return map[string]blkid.Content{
			"vda2": {Type: "ext4", Label: "my data", UUID: "1-2"}, "sdb": {Type: "vfat", Label: "../../x", UUID: "../y"}, "sdc": {Type: "LVM2_member", UUID: "pv"},
		}[node], nil
	})
	update(t, s, uevent.All)
	want := map[string]string{
		"disk/by-id/virtio-a_b_c": "vda", "disk/by-id/virtio-a_b_c-part2": "vda2",
		"disk/by-path/pci-0000:00:04.0": "vda", "disk/by-path/virtio-pci-0000:00:04.0": "vda",
		"disk/by-path/pci-0000:00:04.0-part2": "vda2", "disk/by-path/virtio-pci-0000:00:04.0-part2": "vda2",
		"disk/by-partuuid/0a-1": "vda2", `disk/by-partlabel/my\x20data`: "vda2", `disk/by-label/my\x20data`: "vda2", "disk/by-uuid/1-2": "vda2",
		"disk/by-id/ata-QEMU_HARDDISK_QM1": "sda", "disk/by-id/wwn-0x5000c500": "sda",
		"disk/by-path/pci-0000:00:1f.2-ata-2.0": "sda", "disk/by-path/pci-0000:00:1f.2-ata-2": "sda",
		"disk/by-id/usb-.._Ev_il_Stick_77-0:1": "sdb", "disk/by-path/pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:1": "sdb",
		`disk/by-label/..\x2f..\x2fx`: "sdb", `disk/by-uuid/..\x2fy`: "sdb", "serial/by-id/usb-Maker___Co_Port_77-if01-port0": "ttyUSB0",
		"disk/by-id/scsi-0ab_c": "sdc", "disk/by-path/pci-0000:00:05.0-scsi-1:0:4:1": "sdc",
		"disk/by-id/nvme-eui.00": "nvme0n2", "disk/by-id/nvme-Fast_Disk_S1": "nvme0n2", "disk/by-path/pci-0000:00:06.0-nvme-2": "nvme0n2",
		"disk/by-id/mmc-SD16G_0x1234": "mmcblk0", "disk/by-path/platform-3f202000.mmc": "mmcblk0",
		"disk/by-id/dm-name-secret": "dm-0", "disk/by-id/dm-uuid-CRYPT-LUKS2-1": "dm-0",
	}
	got := links(t, s)
	for name, node := range want {
		if got[name] != node {
			t.Errorf("%s leads to %q, want %s", name, got[name], node)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("there are also %v", got)
	}
	if err := os.WriteFile(s.Udev, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.Dev + "/disk"); err != nil {
		t.Fatal(err)
	}
	update(t, s, uevent.All)
	if got := links(t, s); len(got) != 1 {
		t.Errorf("although udev runs, there are %v", got)
	}
}

// A link that several devices claim leads to one of them, and to the next one when that leaves.
func TestClaims(t *testing.T) {
	claim := func(node string, seq uint64) Device {
		return Device{Node: node, Seq: seq, Names: []string{"disk/by-label/x"}}
	}
	stick := claim("sda", 1)
	stick.USB = true
	card := claim("mmcblk0", 2)
	card.Removes = true
	all := []Device{claim("dm-0", 9), claim("vdb", 3), claim("vda", 4), stick, card}
	for _, want := range []string{"dm-0", "vdb", "vda", "sda", "mmcblk0"} {
		for range 3 {
			all = append(all[1:], all[0])
			if got := plan(all)["disk/by-label/x"]; got != want {
				t.Errorf("the link leads to %s, want %s", got, want)
			}
		}
		all = slices.DeleteFunc(all, func(d Device) bool { return d.Node == want })
	}
	bad := Device{Node: "vda", Names: []string{"disk/by-label/..", "disk/by-label/", "disk/by-label/a/b", "disk/x", "x", "disk/by-label/" + strings.Repeat("x", 256), "disk/by-label/a\n", "/disk/by-label/a"}}
	if got := plan([]Device{bad}); len(got) > 0 {
		t.Errorf("links %v", got)
	}
}

// A device is read when it appears, has changed, or another one has its number; not otherwise.
func TestChanges(t *testing.T) {
	dir := "pci0000:00/0000:00:04.0/virtio1/block/"
	sys := sysfs(t, map[string]map[string]string{dir + "vda": block("vda", "254:0", "1"), dir + "vdb": block("vdb", "254:16", "2")})
	content := map[string]blkid.Content{"vda": {Label: "a"}, "vdb": {Label: "b"}}
	var mu sync.Mutex
	var reads []string
	s := at(t, sys, func(node string, _ int64) (blkid.Content, error) {
		mu.Lock()
		defer mu.Unlock()
		reads = append(reads, node)
		return content[node], nil
	})
	steps := []struct {
		what    string
		do      func() error
		changed []string
		reads   string
		links   string
	}{
		{"the first look", func() error { return nil }, nil, "[vda vdb]", "map[disk/by-label/a:vda disk/by-label/b:vdb]"},
		{"nothing", func() error { return nil }, nil, "[]", "map[disk/by-label/a:vda disk/by-label/b:vdb]"},
		{"an event", func() error { content["vda"] = blkid.Content{Label: "b", UUID: "u"}; return nil }, []string{"254:0", "8:0"}, "[vda]", "map[disk/by-label/b:vda disk/by-uuid/u:vda]"},
		{"a removal", func() error { return os.Remove(sys + "/class/block/vda") }, []string{"254:0"}, "[]", "map[disk/by-label/b:vdb]"},
		{"another disk", func() error {
			content["vdb"] = blkid.Content{Label: "c"}
			return os.WriteFile(filepath.Join(sys, "devices", dir, "vdb/diskseq"), []byte("3"), 0o644)
		}, nil, "[vdb]", "map[disk/by-label/c:vdb]"},
		{"lost events", func() error { return nil }, []string{uevent.All}, "[vdb]", "map[disk/by-label/c:vdb]"},
		{"a broken record", func() error { return os.WriteFile(s.State, []byte("null"), 0o600) }, nil, "[vdb]", "map[disk/by-label/c:vdb]"},
	}
	for _, step := range steps {
		reads = []string{}
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		update(t, s, step.changed...)
		slices.Sort(reads)
		if got := fmt.Sprint(reads); got != step.reads {
			t.Errorf("%s: read %s, want %s", step.what, got, step.reads)
		}
		if got := fmt.Sprint(links(t, s)); got != step.links {
			t.Errorf("%s: %s, want %s", step.what, got, step.links)
		}
	}
}

// A disk that does not answer, and one with errors, cost their own names by content alone.
func TestHungDisk(t *testing.T) {
	dir := "pci0000:00/0000:00:04.0/virtio1/block/"
	sys := sysfs(t, map[string]map[string]string{dir + "vda": block("vda", "254:0", "1", "serial", "A"), dir + "vdb": block("vdb", "254:16", "2"), dir + "vdc": block("vdc", "254:32", "3")})
	answer := make(chan struct{})
	bad := errors.New("bad sector")
	s := at(t, sys, func(node string, _ int64) (blkid.Content, error) {
		switch node {
		case "vda":
			<-answer
		case "vdb":
			return blkid.Content{}, bad
		}
		return blkid.Content{Label: node}, nil
	})
	ctx, stop := context.WithCancel(t.Context())
	problems, ended := make(chan error, 4), make(chan error, 1)
	go func() { ended <- s.Update(ctx, nil, func(err error) { problems <- err }) }()
	if err := <-problems; !errors.Is(err, bad) || !strings.Contains(err.Error(), "vdb") {
		t.Error(err)
	}
	const want = "map[disk/by-id/virtio-A:vda disk/by-label/vdc:vdc]"
	for deadline := time.Now().Add(time.Minute); fmt.Sprint(links(t, s)) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v, want %s", links(t, s), want)
		}
	}
	// It does not wait for the disk that another process waits for.
	if err := s.Update(t.Context(), []string{uevent.All}, func(error) {}); err != nil {
		t.Error(err)
	}
	close(answer)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := links(t, s)["disk/by-label/vda"]; got != "vda" {
		t.Errorf("after the disk has answered: %v", links(t, s))
	}
	stop()
}

// A device whose reader was killed is read again, without an event of its own.
func TestKilledReader(t *testing.T) {
	sys := sysfs(t, map[string]map[string]string{"virtual/block/vda": block("vda", "254:0", "1"), "virtual/block/vdb": block("vdb", "254:1", "2")})
	s := at(t, sys, func(node string, _ int64) (blkid.Content, error) { return blkid.Content{Label: node}, nil })
	s.alive = func(string) bool { return false }
	err := s.locked(t.Context(), func(r *record) error {
		j := job{System: s, self: "killed"}
		j.list(r)
		j.todo(r, nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, "254:1")
	if got := fmt.Sprint(links(t, s)); got != "map[disk/by-label/vda:vda disk/by-label/vdb:vdb]" {
		t.Errorf("links %s", got)
	}
}

// A process makes links of the newest list: one that has waited for a disk does not bring back links
// to a disk that is gone.
func TestNewestList(t *testing.T) {
	sys := sysfs(t, map[string]map[string]string{"virtual/block/vda": block("vda", "254:0", "1"), "virtual/block/vdb": block("vdb", "254:1", "2")})
	answer, asked := make(chan struct{}), make(chan struct{})
	s := at(t, sys, func(node string, _ int64) (blkid.Content, error) {
		if node == "vda" {
			close(asked)
			<-answer
		}
		return blkid.Content{Label: node}, nil
	})
	ended := make(chan error, 1)
	go func() { ended <- s.Update(t.Context(), nil, func(err error) { t.Error(err) }) }()
	<-asked
	if err := os.Remove(sys + "/class/block/vdb"); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), []string{"254:1"}, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	close(answer)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(links(t, s)); got != "map[disk/by-label/vda:vda]" {
		t.Errorf("links %s", got)
	}
}

func FuzzReplaced(f *testing.F) {
	f.Add("a /b\xff..")
	f.Fuzz(func(t *testing.T, s string) {
		if got := replaced(s); strings.ContainsAny(got, "/ \x00\n\t\\") || strings.Contains(got, "\ufffd") {
			t.Errorf("%q: %q", s, got)
		}
	})
}

func FuzzPages(f *testing.F) {
	f.Add("\x00\x83\x00\x08\x02\x00\x00\x04ab c")
	f.Add(identify("m", "s"))
	f.Fuzz(func(t *testing.T, page string) {
		if got := designator([]byte(page)) + ataID([]byte(page)); strings.ContainsAny(got, "/ \x00\n") {
			t.Errorf("%q", got)
		}
	})
}
