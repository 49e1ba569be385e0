package reader

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/runtime/boots"
	"keelson/runtime/logs/index"
)

// disk is a /var with logs of several boots.
type disk struct {
	t      *testing.T
	set    Set
	number int
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	dir := t.TempDir()
	d := &disk{t: t, set: Set{Folders: []string{filepath.Join(dir, "log")}, Boots: filepath.Join(dir, "boots")}}
	if err := os.Mkdir(d.set.Folders[0], 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *disk) path(name string) string { return filepath.Join(d.set.Folders[0], name) }

// boot begins a boot: what the logs have is of those before. An ID of zeros stands for the boot that
// runs. It returns the folder of the boot.
func (d *disk) boot(id boots.ID) string {
	d.t.Helper()
	if id == (boots.ID{}) {
		var err error
		if id, err = boots.This(); err != nil {
			d.t.Fatal(err)
		}
	}
	d.number++
	begin := boots.Begin{Time: time.Now(), Epoch: time.Duration(d.number) * 1e6 * s}
	entries, err := os.ReadDir(d.set.Folders[0])
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range entries {
		f, err := os.Open(d.path(e.Name()))
		if err != nil {
			d.t.Fatal(err)
		}
		inode, born, size, err := index.Identify(f)
		if err != nil {
			d.t.Fatal(err)
		}
		f.Close()
		begin.Marks = append(begin.Marks, boots.Mark{Inode: inode, Born: born, Offset: size})
	}
	text, err := json.Marshal(begin)
	if err != nil {
		d.t.Fatal(err)
	}
	dir := filepath.Join(d.set.Boots, fmt.Sprintf("%06d-%s", d.number, id))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		d.t.Fatal(err)
	}
	d.put(filepath.Join(dir, "begin"), string(text))
	return dir
}

func (d *disk) put(path, text string) {
	d.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// lines returns the lines of a boot, without times.
func (d *disk) lines(place int, o Options) []string {
	d.t.Helper()
	set, err := d.set.Boot(place)
	if err != nil {
		d.t.Fatalf("boot %d: %v", place, err)
	}
	var all []string
	for e, err := range set.Read(d.t.Context(), o) {
		if err != nil {
			d.t.Fatal(err)
		}
		all = append(all, e.Name+": "+string(e.Text))
	}
	return all
}

// The lines of each boot are found, in files that were rotated, truncated, made and continued in any
// of them, with an index or without.
func TestBoot(t *testing.T) {
	for _, indexed := range []bool{true, false} {
		d := newDisk(t)
		d.boot(boots.ID{1})
		add(t, d.path("web.log"), "a1\na2\nunfinished")
		d.boot(boots.ID{2})
		add(t, d.path("web.log"), "b1\n")
		if err := os.Rename(d.path("web.log"), d.path("web.log.1")); err != nil {
			t.Fatal(err)
		}
		add(t, d.path("web.log"), "b2\n")
		add(t, d.path("db.log"), "b3\n")
		add(t, d.path("containerd.log"), strings.Repeat("b", 100)+"\n")
		d.boot(boots.ID{})
		add(t, d.path("web.log"), "c1\n")
		add(t, d.path("new.log"), "c2\n")
		if err := os.Truncate(d.path("containerd.log"), 0); err != nil {
			t.Fatal(err)
		}
		add(t, d.path("containerd.log"), "c3\n")
		if indexed {
			f, err := os.OpenFile(d.path("web.log"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			w := index.NewWriter(d.path("web.log"))
			w.Mark(f, int64(len("b2\n")), time.Now())
			w.Close()
			f.Close()
		}
		names := func(names ...string) Options { return Options{Names: names} }
		equal(t, d.lines(-2, Options{}), "web: a1", "web: a2", "web: unfinished")
		equal(t, d.lines(-1, names("web", "containerd")), "web: b1", "web: b2")
		equal(t, d.lines(-1, names("db")), "db: b3")
		equal(t, d.lines(0, names("web")), "web: c1")
		equal(t, d.lines(0, names("new")), "new: c2")
		equal(t, d.lines(0, names("containerd")), "containerd: c3")
		equal(t, d.lines(0, names("db")))
		equal(t, d.lines(-1, Options{Names: []string{"web"}, Lines: 1}), "web: b2")
		equal(t, d.lines(-2, Options{Lines: 2}), "web: a2", "web: unfinished")
		equal(t, d.lines(-1, Options{Names: []string{"web"}, Since: time.Unix(1, 0)}), "web: b1", "web: b2")
		if _, err := d.set.Boot(-3); !errors.Is(err, ErrNoBoot) {
			t.Errorf("%v", err)
		}
	}
}

// A file that grows beyond its mark after it was truncated has lines of the boot in its index.
func TestBootAfterTruncation(t *testing.T) {
	d := newDisk(t)
	d.boot(boots.ID{1})
	add(t, d.path("containerd.log"), "a1\n")
	d.boot(boots.ID{})
	if err := os.Truncate(d.path("containerd.log"), 0); err != nil {
		t.Fatal(err)
	}
	add(t, d.path("containerd.log"), "b1\nb2\nb3\n")
	f, err := os.OpenFile(d.path("containerd.log"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := index.NewWriter(d.path("containerd.log"))
	w.Mark(f, 0, time.Now())
	w.Close()
	equal(t, d.lines(0, Options{}), "containerd: b1", "containerd: b2", "containerd: b3")
	equal(t, d.lines(-1, Options{}))
}

// A boot that could not be recorded has the lines that the index says.
func TestBootNotRecorded(t *testing.T) {
	d := newDisk(t)
	d.boot(boots.ID{1})
	add(t, d.path("web.log"), "a1\n")
	f, err := os.OpenFile(d.path("web.log"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := index.NewWriter(d.path("web.log"))
	w.Mark(f, 3, time.Now())
	w.Close()
	add(t, d.path("web.log"), "b1\n")
	add(t, d.path("x.log"), "of no boot\n")
	equal(t, d.lines(0, Options{Names: []string{"web"}}), "web: b1")
	empty := Set{Folders: d.set.Folders, Boots: d.set.Boots + "-none"}
	all, err := empty.Boot(0)
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(t, all, Options{Names: []string{"web"}}); len(got) != 2 {
		t.Errorf("without boots, %q", got)
	}
	if _, err := empty.Boot(-1); !errors.Is(err, ErrNoBoot) {
		t.Errorf("%v", err)
	}
}

// The kernel log of a boot that has ended has the last words of its kernel, once, and times by the
// clock that was right last. Damaged lines are left out.
func TestKernelOfBoot(t *testing.T) {
	d := newDisk(t)
	dir := d.boot(boots.ID{1})
	d.boot(boots.ID{})
	d.put(filepath.Join(dir, "kernel.1"), "=1000000\n6,1,1000000,-;Linux version\n30,2,2000000,-;keelson: [   2.000] ready\n")
	d.put(filepath.Join(dir, "kernel"), "=5000000000000\n\x00\x00\x00\n6,3,3000000,-;a \\xc3\\xa4\n6,4,3000000,-;b\n6,5,9")
	d.put(filepath.Join(dir, "pstore-dmesg-erst-1"), "Panic#1 Part1\n<6>[    2.500000] seen\n<6>[    3.000000] b\n<6>[    3.000000] c\n<30>[    3.500000] keelson: late\n<0>[    4.000000] Kernel panic - not syncing: x\nRIP: 7\n")
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.put(filepath.Join(dir, "log", "onboot.000-first.out.log"), "one\n")
	equal(t, d.lines(-1, Options{Names: []string{"kernel"}}), "kernel: Linux version", "kernel: a ä", "kernel: b", "kernel: c",
		"kernel: Kernel panic - not syncing: x", "kernel: RIP: 7")
	equal(t, d.lines(-1, Options{Names: []string{"keelson"}}), "keelson: [   2.000] ready", "keelson: late")
	equal(t, d.lines(-1, Options{Names: []string{"onboot.*"}}), "onboot.000-first: one")
	equal(t, d.lines(-1, Options{Names: []string{"kernel"}, Lines: 2}), "kernel: Kernel panic - not syncing: x", "kernel: RIP: 7")
	set, err := d.set.Boot(-1)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range set.Read(t.Context(), Options{Names: []string{"kernel"}}) {
		if want := time.Unix(5_000_001, 0); err != nil || !e.Time.Equal(want) {
			t.Errorf("%s is of %v, %v", e.Text, e.Time, err)
		}
		break
	}
	names, err := set.Names()
	if err != nil || strings.Join(names, " ") != "keelson kernel onboot.000-first" {
		t.Errorf("names %q, %v", names, err)
	}
}

// The boot that runs can be followed, also over a rotation.
func TestFollowBoot(t *testing.T) {
	d := newDisk(t)
	d.boot(boots.ID{1})
	add(t, d.path("web.log"), "a1\n")
	d.boot(boots.ID{})
	set, err := d.set.Boot(0)
	if err != nil {
		t.Fatal(err)
	}
	next, _ := follower(t, set, Options{Names: []string{"web"}})
	text := func() string { _, text, _ := strings.Cut(next(), " "); return text }
	add(t, d.path("web.log"), "b1\n")
	if got := text(); got != "b1" {
		t.Errorf("%q", got)
	}
	if err := os.Rename(d.path("web.log"), d.path("web.log.1")); err != nil {
		t.Fatal(err)
	}
	add(t, d.path("web.log"), "b2\n")
	if got := text(); got != "b2" {
		t.Errorf("%q", got)
	}
}

// What the disk has of a kernel log may be anything.
func FuzzKernelOfBoot(f *testing.F) {
	f.Add([]byte("=1\n6,1,1000000,-;Linux\n"), []byte("Panic#1 Part1\n<6>[    2.500000] x\n"))
	f.Add([]byte("\x00\x00"), []byte("Oops#1 Part1"))
	f.Fuzz(func(t *testing.T, kernel, words []byte) {
		b := boots.Boot{Dir: t.TempDir()}
		for name, text := range map[string][]byte{"kernel": kernel, "pstore-dmesg-erst-1": words} {
			if err := os.WriteFile(filepath.Join(b.Dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		k, err := openKept(b, false, b.Epoch())
		if err != nil {
			t.Fatal(err)
		}
		defer k.close()
		if err := k.start(time.Time{}); err != nil {
			t.Fatal(err)
		}
		for range len(kernel) + len(words) + 2 {
			if e, more, err := k.next(); err != nil {
				t.Fatal(err)
			} else if !more {
				return
			} else if strings.ContainsRune(string(e.Text), '\n') {
				t.Errorf("%q", e.Text)
			}
		}
		t.Error("it does not end")
	})
}
