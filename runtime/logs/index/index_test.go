package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
)

// log is a log with its writer.
type log struct {
	*testing.T
	path string
	f    *os.File
	w    Writer
	now  time.Time
}

func newLog(t *testing.T) *log {
	path := filepath.Join(t.TempDir(), "x.log")
	return &log{T: t, path: path, f: create(t, path), w: NewWriter(path), now: time.Now()}
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// add writes text later, and marks it if that is due.
func (l *log) add(text string, later time.Duration) {
	l.Helper()
	l.now = l.now.Add(later)
	info, err := l.f.Stat()
	if err != nil {
		l.Fatal(err)
	}
	if l.w.Due(info.Size(), l.now) {
		l.w.Mark(l.f, info.Size(), l.now)
	}
	if _, err := l.f.WriteString(text); err != nil {
		l.Fatal(err)
	}
}

// offsets returns the offsets in the index of the log at path.
func (l *log) offsets(path string) []int64 {
	l.Helper()
	x, err := Open(Path(path), create(l.T, path))
	if err != nil {
		l.Fatal(err)
	}
	defer x.Close()
	var all []int64
	before := time.Duration(1)
	for i := range x.Len() {
		r, err := x.Record(i)
		if err != nil || r.At < before || r.At > timeline.Now() {
			l.Errorf("record %d: %+v, %v", i, r, err)
		}
		before = r.At
		all = append(all, r.Offset)
	}
	return all
}

func (l *log) want(path string, want ...int64) {
	l.Helper()
	if got := l.offsets(path); !reflect.DeepEqual(got, want) {
		l.Errorf("offsets %v, want %v", got, want)
	}
}

func TestRecordsAreLimited(t *testing.T) {
	l := newLog(t)
	for range 10 {
		l.add("0123456789", Interval/4)
	}
	l.want(l.path, 0, 40, 80)
	if size := l.w.Size(); size != headerSize+3*recordSize {
		t.Errorf("size %d", size)
	}
	// A record without bytes after it is replaced.
	l.w.Mark(l.f, 100, l.now.Add(Interval))
	l.w.Mark(l.f, 100, l.now.Add(2*Interval))
	l.want(l.path, 0, 40, 80, 100)
}

// Another process continues the index.
func TestResume(t *testing.T) {
	l := newLog(t)
	l.add("first\n", Interval)
	for range 2 {
		l.w.Close()
		l.w = NewWriter(l.path)
		l.add("again\n", Interval)
	}
	l.want(l.path, 0, 6, 12)
	x, err := Open(Path(l.path), l.f)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if len(x.Boots) != 1 || x.Boots[0].ID != ThisBoot() || x.Boots[0].Start != 0 {
		t.Errorf("boots %+v", x.Boots)
	}
	wall := time.Unix(0, int64(x.Boots[0].Epoch+timeline.Now()))
	if off := time.Since(wall).Abs(); off > time.Minute {
		t.Errorf("the wall clock is off by %v", off)
	}
}

func TestRotate(t *testing.T) {
	l := newLog(t)
	l.add("first\n", Interval)
	old := l.path + ".1"
	if err := os.Rename(l.path, old); err != nil {
		t.Fatal(err)
	}
	l.w.Rotate(old)
	l.f = create(t, l.path)
	l.add("second\n", 0)
	l.add("third\n", Interval)
	l.want(old, 0)
	l.want(l.path, 0, 7)
	// A log without index has none after a rotation either.
	Remove(l.path)
	l.w.Close()
	l.w.Rotate(old)
	if _, err := os.Stat(Path(old)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the index of the rotated log: %v", err)
	}
}

// An index that does not fit its log is ignored, and the writer replaces it.
func TestMismatch(t *testing.T) {
	for name, spoil := range map[string]func(l *log) error{
		"log truncated": func(l *log) error { return l.f.Truncate(3) },
		"log replaced": func(l *log) error {
			text, err := os.ReadFile(l.path)
			l.f = nil
			return errors.Join(err, os.WriteFile(l.path+"2", text, 0o600), os.Rename(l.path+"2", l.path))
		},
		"index of another log": func(l *log) error {
			other := newLog(l.T)
			other.add("text\n", 0)
			return os.Rename(Path(other.path), Path(l.path))
		},
		"index truncated": func(l *log) error { return os.Truncate(Path(l.path), 100) },
		"index empty":     func(l *log) error { return os.Truncate(Path(l.path), 0) },
		"index a link": func(l *log) error {
			return replace(Path(l.path), func(p string) error { return os.Symlink("/dev/zero", p) })
		},
		"index a folder's place": func(l *log) error { return replace(Path(l.path), func(p string) error { return os.Mkdir(p, 0o700) }) },
		"index overwritten":      func(l *log) error { return os.WriteFile(Path(l.path), make([]byte, 600), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			l.add("one\n", Interval)
			l.add("two\n", Interval)
			if err := spoil(l); err != nil {
				t.Fatal(err)
			}
			l.f = create(t, l.path)
			if _, err := Open(Path(l.path), l.f); err == nil {
				t.Error("the index is used")
			}
			l.w.Close()
			l.add("three\n", Interval)
			info, err := l.f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			l.want(l.path, info.Size()-6)
		})
	}
}

func replace(path string, with func(string) error) error {
	return errors.Join(os.Remove(path), with(path))
}

// What a power cut leaves at the end is ignored, and replaced by the writer.
func TestTornEnd(t *testing.T) {
	for _, tail := range []string{"\x00", strings.Repeat("\x00", recordSize), strings.Repeat("\x00", 20*recordSize+5), "torn"} {
		l := newLog(t)
		l.add("one\n", Interval)
		l.add("two\n", Interval)
		f, err := os.OpenFile(Path(l.path), os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = f.WriteString(tail)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		l.want(l.path, 0, 4)
		l.w = NewWriter(l.path)
		l.add("three\n", Interval)
		l.want(l.path, 0, 4, 8)
	}
}

// A log of several boots has the offset at which each begins, at most the last 20.
func TestBoots(t *testing.T) {
	l := newLog(t)
	const boots = maxBoots + 3
	for i := range boots {
		l.add("text\n", Interval)
		last := &l.w.header.boots[len(l.w.header.boots)-1]
		if last.ID != ThisBoot() {
			t.Fatalf("boot %d: %+v", i, *last)
		}
		last.ID = BootID{byte(i + 1)}
		if _, err := l.w.f.WriteAt(l.w.header.encode(), 0); err != nil {
			t.Fatal(err)
		}
		l.w.Close()
	}
	x, err := Open(Path(l.path), l.f)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if len(x.Boots) != maxBoots || x.Boots[0].ID != (BootID{4}) || x.Len() != boots {
		t.Errorf("%d boots, the first %+v, %d records", len(x.Boots), x.Boots[0], x.Len())
	}
	for offset, want := range map[int64]int{0: -1, 14: -1, 15: 0, 19: 0, 20: 1, 5*boots - 1: maxBoots - 1, 1 << 40: maxBoots - 1} {
		if got := x.Boot(offset); got != want {
			t.Errorf("offset %d: boot %d, want %d", offset, got, want)
		}
	}
}

func TestCopyTo(t *testing.T) {
	l := newLog(t)
	for range 3 * blockRecords {
		l.add("0123456789", Interval)
	}
	old := l.path + ".1"
	f := create(t, old)
	size := int64(30*blockRecords - 15)
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	l.w.CopyTo(old, f, 15)
	got := l.offsets(old)
	if len(got) != 3*blockRecords-1 || got[0] != 0 || got[1] != 5 || got[len(got)-1] != size-10 {
		t.Errorf("%d offsets: %v … %v", len(got), got[:3], got[len(got)-1])
	}
}

func TestFind(t *testing.T) {
	l := newLog(t)
	l.add("01234567890123456789", 0)
	l.add("0123456789", Interval)
	l.add("0123456789", Interval)
	x, err := Open(Path(l.path), l.f)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for offset, want := range map[int64]int{-1: -1, 0: 0, 19: 0, 20: 1, 30: 2, 1000: 2} {
		if got := x.Find(offset); got != want {
			t.Errorf("offset %d: record %d, want %d", offset, got, want)
		}
	}
	l.add("later", Interval)
	if err := x.Refresh(); err != nil || x.Find(1000) != 3 || x.Replaced() {
		t.Errorf("%v, %d records, replaced: %v", err, x.Len(), x.Replaced())
	}
	l.w.Close()
	Remove(l.path)
	if !x.Replaced() {
		t.Error("an index that was removed counts as current")
	}
}

// Any file in the place of an index is read and continued without a panic, within its size.
func FuzzIndex(f *testing.F) {
	h := header{boots: []Boot{{ID: BootID{1}, Epoch: time.Hour}, {ID: BootID{2}, Start: 8, Epoch: 2 * time.Hour}}}.encode()
	r := append(Record{0, 1e9}.encode(), Record{8, 2e9}.encode()...)
	f.Add(append(h, r...), int64(4))
	f.Add(append(h, make([]byte, 40)...), int64(4))
	f.Add(h[:100], int64(0))
	f.Add(header{boots: []Boot{{ID: BootID{1}, Start: 100}}}.encode(), int64(0))
	f.Add(append(append([]byte{}, magic...), make([]byte, 600)...), int64(1))
	f.Fuzz(func(t *testing.T, data []byte, offset int64) {
		l := newLog(t)
		if _, err := l.f.WriteString("0123456789"); err != nil {
			t.Fatal(err)
		}
		inode, born, _, err := Identify(l.f)
		if err != nil {
			t.Fatal(err)
		}
		data = slices.Clone(data)
		if len(data) >= bootsAt { // Else nothing but the comparison of the log is tested.
			copy(data[8:], header{inode: inode, born: born}.encode()[8:24])
		}
		if err := os.WriteFile(Path(l.path), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if x, err := Open(Path(l.path), l.f); err == nil {
			if n := x.Len(); n > len(data)/recordSize {
				t.Errorf("%d records in %d bytes", n, len(data))
			}
			if i := x.Find(offset); i >= x.Len() {
				t.Errorf("record %d of %d", i, x.Len())
			}
			if i := x.Boot(offset); i >= len(x.Boots) {
				t.Errorf("boot %d of %d", i, len(x.Boots))
			}
			_ = x.Load(0)
			x.Close()
		}
		l.add("more", Interval)
		x, err := Open(Path(l.path), l.f)
		if err != nil {
			t.Fatalf("after a record was written: %v", err)
		}
		defer x.Close()
		last, err := x.Record(x.Len() - 1)
		if err != nil || last.Offset != 10 {
			t.Errorf("the last of %d records: %+v, %v", x.Len(), last, err)
		}
	})
}

func TestRecordCodec(t *testing.T) {
	for _, r := range []Record{{}, {1, time.Microsecond}, {1<<48 - 1, (1<<48 - 1) * time.Microsecond}, {4 << 30, 400 * 24 * time.Hour}} {
		if got := decode(r.encode()); got != r {
			t.Errorf("%+v is read as %+v", r, got)
		}
	}
}

func ExamplePath() {
	fmt.Println(Path("/var/log/web.out.log.1"))
	// Output: /var/log/.web.out.log.1.times
}
