package plan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"keelson/runtime/blkid"
)

// world is a machine with disks, whose power is cut. Its methods have the effects that the
// actions have, complete or not.
type world struct {
	t       *testing.T
	r       *rand.Rand
	devices []Device
	stored  map[string]bool // devices on whose file system something was stored
	inner   blkid.Content   // of the encrypted volume
}

func (w *world) state() State { return state(w.devices...) }

func (w *world) at(name string) *Device {
	i := slices.IndexFunc(w.devices, func(d Device) bool { return d.Name == name })
	if i < 0 {
		w.t.Fatalf("there is no %s", name)
	}
	return &w.devices[i]
}

// boot turns the machine on: nothing is mounted or mapped.
func (w *world) boot() {
	w.devices = slices.DeleteFunc(w.devices, func(d Device) bool { return d.Mapped != "" })
	for i := range w.devices {
		w.devices[i].Mounts, w.devices[i].Holders = nil, nil
	}
}

// do applies an action. If it is cut, any part of it may have had its effect.
func (w *world) do(a Action, cut bool) {
	all := !cut || w.r.IntN(3) == 0
	d := w.at(a.Device)
	if w.stored[a.Device] && slices.Contains([]Op{SetMark, MakeFS, Partition, Wipe}, a.Op) {
		w.t.Fatalf("%+v on a device with data", a)
	}
	switch a.Op {
	case SetMark:
		if all {
			d.Zero, d.Mark = false, &a.Mark
		}
	case ClearMark:
		if all {
			d.Mark = nil
		}
	case Partition:
		w.partition(d, all)
	case MakeFS:
		w.make(d, a, all)
	case GrowPart:
		if all {
			d.Size = w.at(a.Disk).Size - d.Start - 1<<20
		}
	case OpenCrypt:
		d.Holders = []string{"dm-0"}
		inner := Device{Name: "dm-0", Mapped: a.Name, Size: d.Size - 16<<20}
		inner.Content = w.inner
		w.devices = append(w.devices, inner)
		w.stored["dm-0"] = w.stored["inner of "+d.Name]
	case CryptReady:
		if all {
			d.Fresh = false
		}
	case MountFS:
		d.Mounts = []string{a.Target}
		if len(w.at("vda").Holders) > 0 {
			w.stored["inner of vda"] = true
		}
		w.stored[a.Device] = true
	case CheckFS, GrowFS:
	default:
		w.t.Fatalf("unexpected %+v", a)
	}
}

func (w *world) partition(d *Device, all bool) {
	w.devices = slices.DeleteFunc(w.devices, func(p Device) bool { return p.Disk == d.Name })
	d = w.at(d.Name)
	if all {
		d.Table = &Table{Kind: GPT, Names: []string{"data"}}
		w.devices = append(w.devices, Device{Name: "vda1", Disk: "vda", Part: 1, Start: 1 << 20, Size: d.Size - 2<<20, Zero: true})
	} else if w.r.IntN(2) == 0 {
		d.Table = &Table{Kind: GPT, Names: []string{"data"}} // The kernel does not know it.
	}
}

// make makes a file system, or a part of one.
func (w *world) make(d *Device, a Action, all bool) {
	if a.Type != LUKS && d.Mark == nil && d.Disk == "" && d.Mapped == "" {
		w.t.Fatalf("%+v without a mark", a)
	}
	d.Zero, d.Content = false, blkid.Content{}
	if all || w.r.IntN(2) == 0 { // Its superblock may be the first thing that it writes.
		d.Content = blkid.Content{Type: a.Type, Label: a.Mark.Label, UUID: a.Mark.UUID}
	}
	d.Fresh = d.Content.Type == LUKS
	if d.Mapped != "" {
		w.inner = d.Content
	}
}

// Wherever the power is cut, and however often, a later boot ends with the file system mounted. No
// step changes a device with data.
func TestCuts(t *testing.T) {
	for _, table := range []string{"", GPT} {
		for _, crypt := range []string{"", "c"} {
			for seed := range uint64(2000) {
				t.Run(fmt.Sprintf("%s/%s/%d", table, crypt, seed), func(t *testing.T) {
					w := &world{t: t, r: rand.New(rand.NewPCG(seed, 0)), stored: map[string]bool{"vdb": true, "vdc": true}}
					foreign := Device{Name: "vdc", Size: 1 << 30}
					w.devices = []Device{with("vdb", Ext4, "other"), foreign, empty("vda")}
					before := slices.Clone(w.devices[:2])
					want := Want{Label: "data", Type: Ext4, Table: table, Crypt: crypt, Format: []string{"/dev/vdb", "/dev/vdc", "/dev/vda"}, Check: true, Grow: true, Mount: "/m"}
					for boots := 0; !run(w, want); boots++ {
						if boots > 200 {
							t.Fatal("it does not come to an end")
						}
						w.boot()
					}
					for i, d := range before {
						if got := *w.at(d.Name); !reflect.DeepEqual(got, before[i]) {
							t.Errorf("%s has changed: %+v", d.Name, got)
						}
					}
					if w.at("vda").Mark != nil || w.at("vda").Fresh {
						t.Errorf("it is in use and unfinished: %+v", *w.at("vda"))
					}
				})
			}
		}
	}
}

// run is one boot. It returns false if the power was cut.
func run(w *world, want Want) bool {
	var did []Action
	for range 64 {
		a, err := Next(want, w.state(), did, id)
		if errors.As(err, new(*AbsentError)) || err != nil {
			w.t.Fatalf("after %+v: %v", did, err)
		}
		if a.Op == None {
			return true
		}
		cut := w.r.IntN(4) == 0
		w.do(a, cut)
		if cut {
			return false
		}
		did = append(did, a)
	}
	w.t.Fatalf("no end: %+v", did)
	return false
}
