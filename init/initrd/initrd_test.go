package initrd

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"keelson/init/cmdline"
)

func TestParseParams(t *testing.T) {
	ro := []string{"ro"}
	for in, want := range map[string]Params{
		"root=/dev/vda":                                     {"/dev/vda", fsTypes, ro, patience},
		"root=/dev/x root=254:1 rw ro":                      {"254:1", fsTypes, ro, patience},
		"root=PARTLABEL=root rootfstype=erofs,ext4 rw":      {"PARTLABEL=root", []string{"erofs", "ext4"}, []string{"rw"}, patience},
		"root=/dev/vda rootwait rootflags=noatime,dax":      {"/dev/vda", fsTypes, []string{"ro", "noatime,dax"}, 0},
		"rootwait=7 root=PARTUUID=1-2":                      {"PARTUUID=1-2", fsTypes, ro, 7 * time.Second},
		"root=/dev/mapper/x rootfstype= rootflags= quiet=1": {"/dev/mapper/x", fsTypes, ro, patience},
	} {
		got, err := ParseParams(cmdline.Parse(in))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"": "no root=", "root=": "no root=", "root=vda": "root=vda", "root=LABEL=x": "LABEL=x", "root=PARTUUID=": "PARTUUID",
		"root=/dev/": "root=/dev/", "root=/dev/../x": "..", "root=1:": "root=1:", "root=99999:1": "99999",
		"root=/dev/vda rootwait=x": "rootwait=x", "root=/dev/vda rootwait=0": "rootwait=0",
	} {
		if _, err := ParseParams(cmdline.Parse(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	all := []Disk{
		ParseDisk("MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n"),
		ParseDisk("MAJOR=254\nMINOR=1\nDEVNAME=vda1\nDEVTYPE=partition\nPARTN=1\nPARTNAME=a=b\nPARTUUID=AbC-1\n"),
		ParseDisk("PARTNAME=nameless"),
	}
	for device, want := range map[string]string{
		"/dev/vda": "/dev/vda", "254:1": "/dev/vda1", "PARTLABEL=a=b": "/dev/vda1", "PARTUUID=aBc-1": "/dev/vda1",
		"/dev/vdb": "", "254:2": "", "PARTLABEL=a": "", "PARTLABEL=nameless": "", "/dev/": "",
	} {
		if got := (Params{Device: device}).Find(all); got != want {
			t.Errorf("%s: got %q, want %q", device, got, want)
		}
	}
	if got := list(all[:2]); got != "there are /dev/vda, /dev/vda1 (a=b)" {
		t.Error(got)
	}
}

func FuzzParsers(f *testing.F) {
	f.Add("DEVNAME=vda\nPARTNAME=x\n", "root=/dev/vda rootwait=3 rootflags=a,b rw")
	f.Fuzz(func(t *testing.T, uevent, line string) {
		w, err := ParseParams(cmdline.Parse(line))
		if err != nil {
			return
		}
		if w.Device == "" || len(w.FSTypes) == 0 || w.Wait < 0 {
			t.Errorf("%q gives %+v", line, w)
		}
		w.Find([]Disk{ParseDisk(uevent)})
	})
}
