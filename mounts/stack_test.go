package mounts

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A machine with its root on vda2, and on vdb a loop device below md below dm.
var stackOfDevices = []blockDevice{
	{name: "vda", dev: unix.Mkdev(254, 0), sectors: 1 << 20},
	{name: "vda2", disk: "vda", dev: unix.Mkdev(254, 2), sectors: 1 << 19, holders: 1},
	{name: "dm-0", dev: unix.Mkdev(253, 0), sectors: 1 << 19, kind: mapperDevice, slaves: []string{"vda2"}},
	{name: "vdb", dev: unix.Mkdev(254, 16), sectors: 1 << 20},
	{name: "loop0", dev: unix.Mkdev(7, 0), sectors: 1 << 12, kind: loopDevice, holders: 1},
	{name: "md0", dev: unix.Mkdev(9, 0), sectors: 1 << 11, kind: arrayDevice, slaves: []string{"loop0"}, holders: 1},
	{name: "dm-1", dev: unix.Mkdev(253, 1), sectors: 1 << 11, kind: mapperDevice, slaves: []string{"md0"}},
	{name: "loop1", dev: unix.Mkdev(7, 1)},
	{name: "vdc", dev: unix.Mkdev(254, 32), sectors: 1 << 20},
	{name: "vdc1", disk: "vdc", dev: unix.Mkdev(254, 33), sectors: 1 << 19},
}

func namesOf(devices []blockDevice) string {
	var list []string
	for _, d := range devices {
		list = append(list, d.name)
	}
	return strings.Join(list, " ")
}

func TestStackPlan(t *testing.T) {
	needed := below(stackOfDevices, unix.Mkdev(253, 0))
	if len(needed) != 3 || !needed[unix.Mkdev(254, 0)] {
		t.Errorf("the root needs %v", needed)
	}
	if got := namesOf(stackPlan(stackOfDevices, needed)); got != "dm-1" {
		t.Errorf("stopped first: %q", got)
	}
	circle := []blockDevice{{name: "a", dev: 1, slaves: []string{"b"}}, {name: "b", dev: 2, disk: "a"}}
	if got := below(circle, 1); len(got) != 2 {
		t.Errorf("of a cycle: %v", got)
	}
}

func TestSuspects(t *testing.T) {
	root := []*mountinfo.Info{{Mountpoint: "/", Major: 253, Minor: 0}}
	list := suspects(stackOfDevices, root)
	if got := namesOf(list); got != "vdb dm-1 vdc vdc1" {
		t.Errorf("suspects: %q", got)
	}
	if got := namesOf(lowest(list)); got != "vdb dm-1 vdc1" {
		t.Errorf("without disks that have partitions: %q", got)
	}
}

func TestReadBlockDevice(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"devices/sd/sd1/dev": "8:1\n", "devices/sd/sd1/size": "2048\n", "devices/sd/sd1/partition": "1\n",
		"devices/md0/dev": "9:0\n", "devices/md0/size": "99\n", "devices/md0/md/array_state": "clean\n",
		"devices/md0/slaves/sd1/x": "", "devices/md0/holders/dm-0/x": "",
		"devices/loop0/dev": "7:0\n", "devices/loop0/size": "0\n",
		"devices/bad/dev": "seven\n",
	} {
		must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	class := filepath.Join(dir, "class")
	must(t, os.Mkdir(class, 0o755))
	for name, to := range map[string]string{"sd1": "sd/sd1", "md0": "md0", "loop0": "loop0", "bad": "bad"} {
		must(t, os.Symlink("../devices/"+to, filepath.Join(class, name)))
	}
	got := map[string]blockDevice{}
	for _, d := range blockDevices(class) {
		got[d.name] = d
	}
	want := map[string]blockDevice{
		"sd1":   {name: "sd1", disk: "sd", dev: unix.Mkdev(8, 1), sectors: 2048},
		"md0":   {name: "md0", dev: unix.Mkdev(9, 0), sectors: 99, kind: arrayDevice, slaves: []string{"sd1"}, holders: 1},
		"loop0": {name: "loop0", dev: unix.Mkdev(7, 0)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

func TestSwaps(t *testing.T) {
	got := swaps(strings.NewReader("Filename\t\tType\tSize\tUsed\tPriority\n/var/my\\040swap   file\t1024\t0\t-2\n/loop1 partition 1020 0 -3\n"))
	want := []swapArea{{path: "/var/my swap", kib: 1024}, {path: "/loop1", block: true, kib: 1020}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("swaps %v, want %v", got, want)
	}
}

func TestSwapCandidates(t *testing.T) {
	for _, tc := range []struct {
		area swapArea
		want string
	}{
		{swapArea{path: "/loop0", kib: 2044}, "loop0 vda vda2 dm-0 vdb vdc vdc1"},
		{swapArea{path: "/my-swap", kib: 1<<18 - 4}, "vda2 dm-0 vdc1 vda vdb vdc"},
		{swapArea{path: "/x", kib: 1 << 30}, ""},
	} {
		if got := namesOf(swapCandidates(tc.area, stackOfDevices)); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.area, got, tc.want)
		}
	}
}

func FuzzSwaps(f *testing.F) {
	f.Add("Filename Type Size\n/a\\040b file 12 0 -2\n/dev/x partition -1\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range swaps(strings.NewReader(text)) {
			if len(a.path) > len(text) {
				t.Fatalf("%q of %q", a.path, text)
			}
		}
	})
}

func FuzzDeviceNumber(f *testing.F) {
	f.Add("253:1")
	f.Add("4294967296:x:1")
	f.Fuzz(func(t *testing.T, text string) {
		if dev, err := deviceNumber(text); err != nil && dev != 0 {
			t.Fatalf("%q is %d, %v", text, dev, err)
		}
	})
}
