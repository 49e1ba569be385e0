package disk

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/disk/plan"
	"keelson/testvm/tier"
)

func TestParseTable(t *testing.T) {
	for _, c := range []struct {
		text string
		want *plan.Table
	}{
		{`{"partitiontable": {"label": "gpt", "partitions": [{"node": "/dev/vda1", "name": "data"}, {"node": "/dev/vda2"}]}}`, &plan.Table{Kind: "gpt", Names: []string{"data", ""}}},
		{`{"partitiontable": {"label": "dos"}}`, &plan.Table{Kind: "dos"}},
		{`{}`, nil},
	} {
		got, err := parseTable(c.text)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.text, got, err)
		}
	}
	if _, err := parseTable("sfdisk: x"); err == nil {
		t.Error("no JSON is accepted")
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "4K": 4096, "100M": 100 << 20, "2G": 2 << 30, "1T": 1 << 40,
		"": 0, "G": 0, "-1M": 0, "0": 0, "1.5G": 3 << 29, "1MB": 1 << 20, "1X": 0, "9999999999T": 0} {
		got, err := ParseSize(text)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestParseCondition(t *testing.T) {
	for text, want := range map[string]Condition{
		"part:/var/external": {MountPoint: "/var/external"}, "part:/var/external/:true": {MountPoint: "/var/external", Required: true},
		"partsize:/x:1G": {MountPoint: "/x", Size: 1 << 30}, "partsize:/x:1G:false": {MountPoint: "/x", Size: 1 << 30},
	} {
		if got, err := ParseCondition(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "part", "part:x", "part:/x:maybe", "part:/x:true:true", "partsize:/x", "partsize:/x:big", "disk:/x"} {
		if got, err := ParseCondition(text); err == nil {
			t.Errorf("%q is accepted: %+v", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"part:/x:true", "partsize:/x:1G", "a/b:1:2", "50%", "12K", `{"partitiontable": {"label": "gpt"}}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseCondition(text); err == nil && (!filepath.IsAbs(c.MountPoint) || c.Size < 0) {
			t.Errorf("%q: %+v", text, c)
		}
		if folder, err := ParseFolder(text); err == nil && (!filepath.IsLocal(folder.Name) || folder.UID < 0 || folder.GID < 0) {
			t.Errorf("%q: %+v", text, folder)
		}
		if z, err := ParseZRAMSize(text); err == nil && (z.Percent <= 0) == (z.Size <= 0) {
			t.Errorf("%q: %+v", text, z)
		}
		if table, err := parseTable(text); err == nil && table != nil && table.Kind == "" {
			t.Errorf("%q: %+v", text, table)
		}
	})
}

func TestCompareNames(t *testing.T) {
	want := []string{"mmcblk0", "mmcblk0p1", "nvme0n1", "nvme2n1", "nvme10n1", "nvme0n1p1", "sda", "sda1", "sda2", "sda10", "sdb", "sdz", "sdaa", "vda"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortStableFunc(got, compareNames)
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestSuited(t *testing.T) {
	for name, want := range map[string]bool{"vda": true, "dm-0": true, "nvme0n1p2": true, "mmcblk0p1": true, "md0": true, "ramdisk": true,
		"loop0": false, "ram1": false, "zram0": false, "sr0": false, "nbd3": false, "fd0": false, "mmcblk0boot0": false, "mmcblk0rpmb": false} {
		if got := suited(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The folder in /proc/swaps is that which a container had.
func TestSwapOnDevice(t *testing.T) {
	const swaps = "Filename\tType\tSize\tUsed\tPriority\n/swap  file\t65532\t0\t-2\n/zram0  partition\t232496\t0\t100\n/dev/vda1 partition 1 0 -3\n"
	for name, want := range map[string]bool{"swap": false, "zram0": true, "vda1": true, "vda": false, "Filename": false} {
		if got := swapOnDevice(swaps, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine("a\n\nb\r\nc\n"); got != ": a; b; c" {
		t.Errorf("%q", got)
	}
	if got := oneLine(strings.Repeat("x", 1000)); len(got) != outputLimit+2 {
		t.Errorf("%d bytes", len(got))
	}
}

// A swap file that an earlier boot has begun, or with another size, is made again; a complete one
// is kept.
func TestMakeSwapFile(t *testing.T) {
	tier.Tool(t, "mkswap", "util-linux")
	path := filepath.Join(t.TempDir(), "swap")
	y := New(new(strings.Builder))
	f := SwapFile{Path: path, Size: 1 << 20}
	must(t, os.WriteFile(path+".new", []byte("begun"), 0o600))
	must(t, os.WriteFile(path, []byte("another"), 0o644))
	must(t, y.makeSwapFile(f))
	first, err := os.Stat(path)
	must(t, err)
	if !isSwapFile(f) || first.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v is no swap file", first.Mode(), first.Size())
	}
	must(t, y.makeSwapFile(f))
	if second, err := os.Stat(path); err != nil || !os.SameFile(first, second) {
		t.Errorf("it was made again (%v)", err)
	}
	f.Size *= 2
	if isSwapFile(f) {
		t.Error("another size is accepted")
	}
	if _, err := os.Stat(path + ".new"); err == nil {
		t.Error("the file that was begun is still there")
	}
}

// A folder is made inside of the file system only, whatever links are there.
// A mapped device without a swap area, because mkswap failed, is removed again; one that is not made of
// the file is left alone.
func TestEncryptedSwapWithoutArea(t *testing.T) {
	dir := t.TempDir()
	node := filepath.Join(dir, "dev/mapper", mappedSwap)
	must(t, os.MkdirAll(filepath.Dir(node), 0o755))
	var ran []string
	y := System{Sys: filepath.Join(dir, "sys"), Dev: filepath.Join(dir, "dev"), say: t.Logf, run: func(c Command) (string, error) {
		ran = append(ran, c.Name+" "+c.Args[0])
		switch {
		case c.Name == "mkswap":
			return "", errors.New("no memory")
		case c.Args[0] == "open":
			return "", os.WriteFile(node, make([]byte, 1<<16), 0o600)
		}
		return "", os.Remove(node)
	}}
	f := SwapFile{Path: filepath.Join(dir, "swap"), Size: 1 << 20, Encrypt: true}
	if err := y.SwapFile(f); err == nil || !strings.Contains(err.Error(), "no memory") || exists(node) {
		t.Errorf("%v; the mapped device exists: %v", err, exists(node))
	}
	if got := strings.Join(ran, ", "); got != "cryptsetup open, mkswap "+node+", cryptsetup close" {
		t.Errorf("ran %s", got)
	}
	ran = nil
	must(t, os.WriteFile(node, make([]byte, 1<<16), 0o600))
	if err := y.SwapFile(f); err == nil || !strings.Contains(err.Error(), "is not made of it") || len(ran) > 0 {
		t.Errorf("with a foreign device: %v; ran %v", err, ran)
	}
}

// A device is waited for from the time at which it is missed, again after each step that was done.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := window{limit: 15 * time.Second}
		for step := range 3 {
			time.Sleep(time.Hour) // A step that takes long.
			w.close()
			for second := range 30 {
				if ctx := w.open(t.Context()); (ctx.Err() == nil) != (second < 15) {
					t.Errorf("step %d: after %d s: %v", step, second, ctx.Err())
				}
				time.Sleep(time.Second)
				synctest.Wait()
			}
		}
		w.close()
	})
}

// A partition that begins with its disk is the disk.
func TestFold(t *testing.T) {
	s := plan.State{Paths: map[string]string{"/dev/vda1": "vda1", "/dev/vdb1": "vdb1", "/dev/vda": "vda"}, Devices: []plan.Device{
		{Name: "vda", Mounts: []string{"/a"}}, {Name: "vda1", Disk: "vda", Part: 1, Mounts: []string{"/b"}, Holders: []string{"dm-0"}, SwapOn: true},
		{Name: "vdb"}, {Name: "vdb1", Disk: "vdb", Part: 1, Start: 1 << 20, Mounts: []string{"/c"}}, {Name: "vdc1", Disk: "vdc", Part: 1},
	}}
	fold(&s)
	want := plan.State{Paths: map[string]string{"/dev/vda1": "vda", "/dev/vdb1": "vdb1", "/dev/vda": "vda"}, Devices: []plan.Device{
		{Name: "vda", Mounts: []string{"/a", "/b"}, Holders: []string{"dm-0"}, SwapOn: true},
		{Name: "vdb"}, {Name: "vdb1", Disk: "vdb", Part: 1, Start: 1 << 20, Mounts: []string{"/c"}}, {Name: "vdc1", Disk: "vdc", Part: 1},
	}}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("%+v", s)
	}
}

func TestFolder(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(dir, "link")))
	own := Folder{Name: "a/b", UID: os.Getuid(), GID: os.Getgid()}
	must(t, own.Make(dir))
	must(t, own.Make(dir)) // In each boot.
	if info, err := os.Stat(filepath.Join(dir, "a/b")); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
	own.Name = "link/x"
	if err := own.Make(dir); err == nil {
		t.Error("a folder was made behind a link")
	}
}
