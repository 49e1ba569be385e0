package initrd

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"keelson/runtime/blkid"
	"keelson/runtime/cmdline"
	"keelson/runtime/uevent"
)

func TestParseParams(t *testing.T) {
	ro := []string{"ro"}
	for in, want := range map[string]Params{
		"root=/dev/vda":                                     {"/dev/vda", fsTypes, ro, patience},
		"root=/dev/x root=254:1 rw ro":                      {"254:1", fsTypes, ro, patience},
		"root=PARTLABEL=root rootfstype=erofs,ext4 rw":      {"PARTLABEL=root", []string{"erofs", "ext4"}, []string{"rw"}, patience},
		"root=/dev/vda rootwait rootflags=noatime,dax":      {"/dev/vda", fsTypes, []string{"ro", "noatime,dax"}, 0},
		"rootwait=7 root=PARTUUID=1-2":                      {"PARTUUID=1-2", fsTypes, ro, 7 * time.Second},
		"root=LABEL=my":                                     {"LABEL=my", fsTypes, ro, patience},
		"root=/dev/mapper/x rootfstype= rootflags= quiet=1": {"/dev/mapper/x", fsTypes, ro, patience},
	} {
		got, err := ParseParams(cmdline.Parse(in))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"": "no root=", "root=": "no root=", "root=vda": "root=vda", "root=LABEL=": "LABEL=", "root=ID=x": "ID=x", "root=PARTUUID=": "PARTUUID",
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
		"UUID=": "", "LABEL=": "", "UUID=x": "", "LABEL=a=b": "",
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

// A disk that does not answer does not keep the root from being found by label or UUID, also in
// either case of its letters.
func TestContents(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	c := newContents()
	c.read = func(node string, size int64) (blkid.Content, error) {
		switch node {
		case "/dev/vda":
			<-hang
		case "/dev/vdb":
			return blkid.Content{}, errors.New("bad sector")
		case "/dev/vdc":
			return blkid.Content{Type: "ext4", Label: "my root", UUID: "ab-1"}, nil
		}
		return blkid.Content{Type: "LVM2_member", Label: "my root", UUID: "ab-1"}, nil
	}
	all := func() []Disk {
		var all []Disk
		for _, name := range []string{"vda", "vdb", "vdd", "vdc"} {
			all = append(all, Disk{"DEVNAME": name, sizeKey: "8"})
		}
		return append(all, Disk{"DEVNAME": "sr0", sizeKey: "0"}, Disk{sizeKey: "8"}, Disk{"DEVNAME": "x"})
	}
	for _, device := range []string{"LABEL=my root", "UUID=AB-1"} {
		w := Params{Device: device}
		if !w.needed() {
			t.Errorf("%s needs no content", device)
		}
		for {
			now := all()
			c.fill(now)
			if got := w.Find(now); got == "/dev/vdc" {
				break
			} else if got != "" {
				t.Fatalf("%s: %s", device, got)
			}
			<-c.more
		}
	}
	if (Params{Device: "PARTUUID=1"}).needed() {
		t.Error("PARTUUID needs a content")
	}
}

func TestNext(t *testing.T) {
	events, err := uevent.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	more := make(chan struct{}, 1)
	more <- struct{}{}
	if e, err := next(t.Context(), events, more); err != nil || !e.Lost {
		t.Errorf("%+v, %v", e, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := next(ctx, events, make(chan struct{})); !errors.Is(err, context.Canceled) {
		t.Error(err)
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
