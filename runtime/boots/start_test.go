package boots

import (
	"bytes"
	"compress/flate"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// machine is what Start sees of a machine.
type machine struct {
	t    *testing.T
	o    Options
	next byte
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, o: Options{Dir: filepath.Join(dir, "keelson/boots"), Logs: filepath.Join(dir, "log"), Pstore: filepath.Join(dir, "pstore"),
		Watchdog: filepath.Join(dir, "watchdog"), Bounds: Bounds{Boots: 4}}}
	for _, d := range []string{m.o.Logs, m.o.Pstore, m.o.Watchdog} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// boot begins another boot.
func (m *machine) boot() (this Boot, before *Boot) {
	m.t.Helper()
	m.next++
	m.o.ID = ID{m.next}
	// The clock is wrong: each boot seems to be earlier.
	m.o.Begin = Begin{Time: time.Unix(1e9-int64(m.next), 0).UTC(), Kernel: "6.1"}
	this, before, kept, err := start(m.o, 1<<30)
	if err != nil || !kept || this.ID != m.o.ID || this.Begin == nil {
		m.t.Fatalf("boot %d: %+v, %v, %v", m.next, this, kept, err)
	}
	return this, before
}

// Nobody but root sees the boots. Everybody can pass the folder above, in which services/versions has the
// roots of containers.
func TestFolders(t *testing.T) {
	m := newMachine(t)
	m.boot()
	for dir, want := range map[string]os.FileMode{m.o.Dir: 0o700, filepath.Dir(m.o.Dir): 0o711} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %o", dir, info.Mode(), err, want)
		}
	}
}

func (m *machine) put(path, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) end(b Boot, e End) {
	m.t.Helper()
	if err := store(b.Dir, endFile, e); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) pstore() (names []string) {
	entries, err := os.ReadDir(m.o.Pstore)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// list returns the boots as NUMBER: END.
func (m *machine) list() (all []string) {
	m.t.Helper()
	list, err := List(m.o.Dir)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, b := range list {
		all = append(all, fmt.Sprintf("%d: %v", b.Number, b))
	}
	return all
}

func (m *machine) expect(want ...string) {
	m.t.Helper()
	if got := m.list(); !slices.Equal(got, want) {
		m.t.Errorf("boots %q, want %q", got, want)
	}
}

const (
	lostText = "no clean end: power cut, reset, or forced reboot"
	crashed  = "Panic#1 Part1\n<6>[   12.000001] before\n<0>[   12.345678] Kernel panic - not syncing: sysrq triggered crash\n"
)

// Each boot finds out how the one before ended.
func TestEnds(t *testing.T) {
	m := newMachine(t)
	first, before := m.boot()
	if before != nil {
		t.Errorf("before the first boot there was %v", before)
	}
	m.end(first, End{How: Reboot, By: "user 0"})
	second, before := m.boot()
	if before == nil || before.String() != "reboot, ordered by user 0" {
		t.Errorf("the first boot: %v", before)
	}
	m.put(filepath.Join(m.o.Watchdog, "watchdog0/bootstatus"), "32\n")
	m.put(filepath.Join(m.o.Watchdog, "watchdog0/identity"), "i6300ESB timer\n")
	third, _ := m.boot()
	m.put(filepath.Join(m.o.Watchdog, "watchdog0/bootstatus"), "0\n")
	if err := store(third.Dir, askedFile, End{How: Halt, By: "someone"}); err != nil {
		t.Fatal(err)
	}
	m.put(filepath.Join(m.o.Pstore, "console-ramoops-0"), "[    1.000000] hello\n")
	m.boot()
	m.put(filepath.Join(m.o.Pstore, "dmesg-erst-7"), crashed)
	m.boot()
	m.expect("1: reboot, ordered by user 0", "2: "+lostText+"; watchdog i6300ESB timer: has reset the machine",
		"3: "+lostText+": while it ended by halt, ordered by someone", "4: kernel panic: sysrq triggered crash", "5: not known")
	if left := m.pstore(); len(left) != 0 {
		t.Errorf("pstore has %q", left)
	}
	again, before, kept, err := start(m.o, 1<<30)
	if err != nil || !kept || again.Number != 5 || before != nil {
		t.Errorf("the same boot again: %+v, %v, %v, %v", again, before, kept, err)
	}
	if second.Dir == third.Dir {
		t.Error("two boots have one folder")
	}
}

// Last words after an end in order are of a boot that was not recorded.
func TestUnrecordedBoot(t *testing.T) {
	m := newMachine(t)
	m.put(filepath.Join(m.o.Pstore, "dmesg-erst-1"), crashed)
	b, before := m.boot()
	if before == nil || before.ID != (ID{}) || b.Number != 2 {
		t.Fatalf("%+v, %+v", b, before)
	}
	m.end(b, End{How: PowerOff})
	m.put(filepath.Join(m.o.Pstore, "dmesg-erst-1"), strings.Replace(crashed, "sysrq", "second", 1))
	m.boot()
	m.expect("1: kernel panic: sysrq triggered crash", "2: power-off", "3: kernel panic: second triggered crash", "4: not known")
	all, err := List(m.o.Dir)
	if err != nil || len(all[2].LastWords(0, nil)) != 2 {
		t.Errorf("last words: %v, %v", all[2].LastWords(0, nil), err)
	}
	for place, number := range map[int]int{0: 4, -1: 3, -3: 1, -4: 0, 1: 0} {
		if found, _ := Find(all, m.o.ID, place); found.Number != number {
			t.Errorf("boot %d has number %d, want %d", place, found.Number, number)
		}
	}
	if found, ok := Find(all, ID{99}, -1); !ok || found.Number != 4 {
		t.Errorf("before a boot that is not recorded: %+v", found)
	}
}

// An oops that a machine survives is stored, and is no end.
func TestOops(t *testing.T) {
	m := newMachine(t)
	b, _ := m.boot()
	m.end(b, End{How: Reboot})
	m.put(filepath.Join(m.o.Pstore, "dmesg-efi-1"), "Oops#1 Part1\n<4>[    2.000000] BUG: unable to handle\n")
	m.boot()
	m.expect("1: reboot", "2: not known")
	if words := b.LastWords(time.Second, nil); len(words) != 1 || words[0].Text != "BUG: unable to handle" || len(m.pstore()) != 0 {
		t.Errorf("%+v, %q", words, m.pstore())
	}
}

// A power cut after any of the changes of a start leaves what the next start completes: no boot and
// no last word is lost, and none is of the wrong boot.
func TestInterruptedStart(t *testing.T) {
	for _, cut := range []func(m *machine, b Boot){
		func(m *machine, b Boot) { m.put(filepath.Join(m.o.Dir, unfinished, beginFile), "{") },
		func(m *machine, b Boot) { m.put(filepath.Join(b.Dir, pstorePrefix+"dmesg-erst-1"), crashed) },
		func(m *machine, b Boot) { m.put(filepath.Join(b.Dir, pstorePrefix+"dmesg-erst-1.new"), "Pan") },
		func(m *machine, b Boot) {
			m.put(filepath.Join(b.Dir, pstorePrefix+"dmesg-erst-1"), crashed)
			m.end(b, End{How: Panic, Text: "sysrq triggered crash"})
		},
		func(m *machine, b Boot) { m.put(filepath.Join(b.Dir, endFile+".new"), "{") },
		func(m *machine, b Boot) {
			if err := os.Rename(filepath.Join(m.o.Dir, name(1, ID{1})), filepath.Join(m.o.Dir, removedPrefix+"x")); err != nil {
				m.t.Fatal(err)
			}
			m.put(filepath.Join(m.o.Dir, name(1, ID{1}), "kernel"), "") // Only this is left of it.
		},
	} {
		m := newMachine(t)
		m.boot()
		b, _ := m.boot()
		m.put(filepath.Join(m.o.Pstore, "dmesg-erst-1"), crashed)
		cut(m, b)
		m.boot()
		got := m.list()
		if len(got) != 3 || got[1] != "2: kernel panic: sysrq triggered crash" {
			t.Errorf("%q", got)
		}
		if words := b.LastWords(0, nil); len(words) != 2 || len(m.pstore()) != 0 {
			t.Errorf("last words %v; pstore has %q", words, m.pstore())
		}
	}
}

// A boot whose files a power cut has damaged is still one.
func TestDamagedBoot(t *testing.T) {
	m := newMachine(t)
	b, _ := m.boot()
	for _, text := range []string{"", "{", "\x00\x00", "[]"} {
		m.put(filepath.Join(b.Dir, beginFile), text)
		m.put(filepath.Join(b.Dir, endFile), text)
		if all, err := List(m.o.Dir); err != nil || len(all) != 1 || all[0].Begin != nil || all[0].End != nil || all[0].ID != b.ID {
			t.Errorf("%q: %+v, %v", text, all, err)
		}
	}
	m.boot()
	m.expect("1: "+lostText, "2: not known")
}

func TestNothingKept(t *testing.T) {
	m := newMachine(t)
	m.boot()
	m.o.Bounds.Boots, m.o.ID = 0, ID{9}
	if _, _, kept, err := start(m.o, 1<<30); kept || err != nil || len(m.list()) != 0 {
		t.Errorf("%v, %v, %q", kept, err, m.list())
	}
	m.o.Dir = "/proc/keelson/boots"
	m.o.Bounds.Boots = 1
	if _, _, kept, err := Start(m.o); kept || err == nil {
		t.Errorf("a folder that cannot be made: %v, %v", kept, err)
	}
	m.o.Dir = "/dev/shm/keelson-test/boots"
	if _, _, kept, err := Start(m.o); kept || err != nil || exists("/dev/shm/keelson-test") {
		t.Errorf("a folder in memory: %v, %v", kept, err)
	}
}

func TestMarks(t *testing.T) {
	m := newMachine(t)
	for name, text := range map[string]string{"web.log": "one\n", "web.log.1": "zero\n", "web.log.x": "", ".web.log": "", "wtmp": "", "x.out.log": ""} {
		m.put(filepath.Join(m.o.Logs, name), text)
	}
	if err := os.Symlink("web.log", filepath.Join(m.o.Logs, "link.log")); err != nil {
		t.Fatal(err)
	}
	b, _ := m.boot()
	var sizes []int64
	for _, mark := range b.Begin.Marks {
		sizes = append(sizes, mark.Offset)
	}
	slices.Sort(sizes)
	if !slices.Equal(sizes, []int64{0, 4, 5}) {
		t.Errorf("marks %+v", b.Begin.Marks)
	}
}

func TestDumps(t *testing.T) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, "Panic#2 Part2\n<6>[    1.000000][    T1] first\n")
	w.Close()
	dumps := []dump{
		{"console-ramoops-0", []byte("[    9.000000] of the console\n")},
		{"dmesg-ramoops-1", []byte("Panic#2 Part1\n<6>[    2.000000] third\n  goes on\n<6>[    3.000000] Kernel panic - not syncing: why\n")},
		{"dmesg-ramoops-0.enc.z", packed.Bytes()},
		{"dmesg-ramoops-2", []byte("Oops#1 Part1\n<6>[    0.500000] an oops\n<6>[    1.000000] first\n")},
		{"dmesg-ramoops-3.enc.z", []byte("torn")}, {"dmesg-ramoops-4", nil},
	}
	if text, ok := panicIn(dumps); !ok || text != "why" {
		t.Errorf("panic %q, %v", text, ok)
	}
	if _, ok := panicIn(dumps[:1]); ok {
		t.Error("the console has a panic")
	}
	b := Boot{Dir: t.TempDir()}
	if err := storeDumps(b, dumps); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range b.LastWords(500*time.Millisecond, []string{"an oops"}) {
		got = append(got, fmt.Sprint(l.At.Seconds(), l.Timed, " ", l.Text))
	}
	if want := []string{"1 true first", "2 true third", "2 false   goes on", "3 true Kernel panic - not syncing: why"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	many := filepath.Join(t.TempDir(), "many")
	if err := os.Mkdir(many, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range mostDumps + 1 {
		if err := os.WriteFile(filepath.Join(many, fmt.Sprintf("dmesg-erst-%d", i)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := readDumps(many, 1<<20); len(all) != mostDumps || err == nil {
		t.Errorf("%d files, %v", len(all), err)
	}
}

func FuzzParseDump(f *testing.F) {
	f.Add("dmesg-ramoops-0", []byte(crashed))
	f.Add("dmesg-erst-1.enc.z", []byte("\x00\x01"))
	f.Add("console-ramoops-0", []byte("[   12.000001][    C1] x\n\x00\n"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		w, ok := parseDump(dump{name, data})
		if ok && len(w.lines) == 0 {
			t.Error("no lines")
		}
		for _, l := range w.lines {
			if l.At < 0 || strings.ContainsRune(l.Text, '\n') {
				t.Errorf("%+v", l)
			}
		}
		_, _ = panicIn([]dump{{name, data}})
	})
}
