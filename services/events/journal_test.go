package events

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"keelson/runtime/timeline"
)

const testBoot = 0x9f3c21aa

func journalIn(dir string) *Journal {
	return Open(Options{Dir: dir, Boot: testBoot, Now: func() time.Duration { return 5 * time.Millisecond }})
}

// fill appends n events whose names count from first.
func fill(j *Journal, first, n int) {
	for i := range n {
		j.Append(Event{Kind: Service, Name: fmt.Sprint(first + i), From: "starting", To: "running"})
	}
}

// all returns what a reader gets until there is nothing more, as text: names, and gaps as "!N".
func all(c *Cursor) string {
	var got []string
	for {
		b := c.Read()
		if b.Last.IsZero() {
			return strings.Join(got, " ")
		}
		if b.Gap != nil {
			got = append(got, fmt.Sprintf("!%d", b.Gap.Missed))
		}
		for _, e := range b.Events {
			got = append(got, e.Name)
		}
	}
}

func TestNumbersContinue(t *testing.T) {
	dir := t.TempDir()
	j := journalIn(dir)
	if !j.Fresh() || !j.Last().IsZero() {
		t.Errorf("a new journal has %v", j.Last())
	}
	fill(j, 1, 3)
	first := ID{testBoot, 5001} // 5 ms since the kernel started
	next := journalIn(dir)      // The process before was killed: it closes nothing.
	if next.Fresh() || next.Last() != (ID{testBoot, 5003}) {
		t.Errorf("the next process has %v, fresh %v", next.Last(), next.Fresh())
	}
	fill(next, 4, 1)
	if got := all(next.Subscribe(first, Filter{})); got != "2 3 4" {
		t.Errorf("after the first: %s", got)
	}
	if got := all(next.Subscribe(ID{}, Filter{Names: []string{"1", "4"}})); got != "1 4" {
		t.Errorf("of 1 and 4: %s", got)
	}
}

// Of the events of another boot, nothing is read, and a reader gets a gap.
func TestOtherBoot(t *testing.T) {
	dir := t.TempDir()
	fill(journalIn(dir), 1, 3)
	j := Open(Options{Dir: dir, Boot: 7, Now: func() time.Duration { return 0 }})
	if !j.Fresh() {
		t.Error("events of another boot are kept")
	}
	fill(j, 1, 1)
	b := j.Subscribe(ID{testBoot, 5003}, Filter{}).Read()
	if b.Gap == nil || !b.Gap.OtherBoot || b.Gap.Next != (ID{7, 1}) || len(b.Events) != 1 || !strings.Contains(b.Gap.String(), "rebooted") {
		t.Errorf("got %+v", b)
	}
}

// Lines that were cut off, by SIGKILL or a full disk, cost nothing else.
func TestTornLines(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	fill(journalIn(dir), 1, 3)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	fill(journalIn(dir), 4, 1)
	if got := all(journalIn(dir).Subscribe(ID{}, Filter{})); got != "1 2 !1 4" {
		t.Errorf("read %s", got)
	}
}

// Without some of the files, no number is used twice.
func TestLostFiles(t *testing.T) {
	for _, lost := range [][]string{{fileName}, {lastName}, {fileName, lastName}, {fileName, oldName, lastName}, {}} {
		dir := t.TempDir()
		now := time.Millisecond
		options := Options{Dir: dir, Boot: testBoot, Now: func() time.Duration { return now }}
		j := Open(options)
		fill(j, 1, 1500) // more than a file holds
		if _, err := os.Stat(filepath.Join(dir, oldName)); err != nil {
			t.Fatal("the file was not rotated")
		}
		for _, name := range lost {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		now = time.Second
		next := Open(options)
		fill(next, 1, 1)
		if next.Last().Seq <= j.Last().Seq {
			t.Errorf("without %v: %v follows %v", lost, next.Last(), j.Last())
		}
	}
}

// When nothing more can be written, events are in memory, the loss is logged once, and the next
// process uses other numbers.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	var log strings.Builder
	j := Open(Options{Dir: dir, Boot: testBoot, Now: func() time.Duration { return 0 }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	fill(j, 1, 2)
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	j.file.log.Close()
	j.file.log = full
	fill(j, 3, 3)
	if got := all(j.Subscribe(ID{}, Filter{})); got != "1 2 3 4 5" {
		t.Errorf("in memory: %s", got)
	}
	if strings.Count(log.String(), "level=ERROR") != 1 {
		t.Errorf("logged %s", &log)
	}
	next := journalIn(dir)
	fill(next, 6, 1)
	c := next.Subscribe(ID{testBoot, 2}, Filter{})
	if got := all(c); got != "!3 6" {
		t.Errorf("the next process has %s", got)
	}
	full.Close()
	j.file.log = nil
	fill(j, 6, 1)
	if !strings.Contains(log.String(), "written again") || !strings.Contains(log.String(), "=3") {
		t.Errorf("logged %s", &log)
	}
}

// What lies in the place of the files neither blocks nor is changed.
func TestStrangeFiles(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	for _, err := range []error{
		os.WriteFile(other, []byte("x"), 0o600), os.Symlink(other, filepath.Join(dir, fileName)), os.Mkdir(filepath.Join(dir, lastName), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	j := journalIn(dir)
	fill(j, 1, 2)
	if got := all(j.Subscribe(ID{}, Filter{})); got != "1 2" {
		t.Errorf("read %s", got)
	}
	if text, err := os.ReadFile(other); err != nil || string(text) != "x" {
		t.Errorf("the file that a link leads to holds %q, %v", text, err)
	}
}

// Memory and files are bounded, by number and by size.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	j := journalIn(dir)
	fill(j, 1, 1)
	before := j.Subscribe(j.Last(), Filter{})
	fill(j, 2, 2999)
	if j.ring.count > CountLimit || j.ring.bytes > BytesLimit {
		t.Errorf("%d events of %d bytes", j.ring.count, j.ring.bytes)
	}
	if b := before.Read(); b.Gap == nil || b.Gap.Missed != uint64(3000-1-j.ring.count) || b.Gap.Next != j.ring.at(0).ID {
		t.Errorf("a slow reader gets %+v", b.Gap)
	}
	long := strings.Repeat("é", 4000)
	for range 500 {
		j.Append(Event{Kind: Swap, Name: long, Text: "x" + long, By: long, Container: long, Exit: &Exit{Signal: long}})
	}
	if j.ring.bytes > BytesLimit {
		t.Errorf("%d bytes", j.ring.bytes)
	}
	newest := j.ring.at(j.ring.count - 1)
	if len(newest.Text) > TextLimit || len(newest.Name) > NameLimit || len(newest.By) > NameLimit || len(newest.Container) > NameLimit || len(newest.Exit.Signal) > NameLimit ||
		!strings.HasSuffix(newest.Text, "é…") || !utf8.ValidString(newest.Text) {
		t.Errorf("texts of %d and %d bytes", len(newest.Text), len(newest.Name))
	}
	for _, name := range []string{fileName, oldName} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() > FileLimit {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if next := journalIn(dir); next.Last() != j.Last() || next.ring.count == 0 {
		t.Errorf("the next process has %v", next.Last())
	}
}

func TestTimes(t *testing.T) {
	wall := time.Date(2026, 2, 3, 4, 5, 6, 0, time.FixedZone("x", 3600))
	j := Open(Options{Boot: 1, Now: func() time.Duration { return time.Minute }, Wall: func() time.Time { return wall }})
	j.Append(Event{Kind: Service})
	j.Append(Event{Kind: Onboot, At: time.Second})
	events := j.Subscribe(ID{}, Filter{}).Read().Events
	if e := events[0]; e.At != time.Minute || e.Time != wall.UTC() {
		t.Errorf("got %+v", e)
	}
	if e := events[1]; e.At != time.Second || e.Time != wall.UTC().Add(-59*time.Second) {
		t.Errorf("got %+v", e)
	}
}

// A reader waits without a timer until something happens that its filter selects, its context
// ends or the journal is closed.
func TestNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journalIn("")
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan string, 10)
		read := func(ctx context.Context, filter Filter) {
			c := j.Subscribe(ID{}, filter)
			for {
				b, err := c.Next(ctx)
				if err != nil {
					got <- err.Error()
					return
				}
				for _, e := range b.Events {
					got <- e.Name
				}
			}
		}
		go read(ctx, Filter{})
		synctest.Wait()
		fill(j, 1, 1)
		if name := <-got; name != "1" {
			t.Errorf("got %s", name)
		}
		cancel()
		if err := <-got; err != context.Canceled.Error() {
			t.Errorf("got %s", err)
		}
		go read(t.Context(), Filter{Names: []string{"3"}})
		fill(j, 2, 2)
		if name := <-got; name != "3" {
			t.Errorf("got %s", name)
		}
		synctest.Wait()
		fill(j, 4, 1)
		synctest.Wait()
		j.Close()
		if err := <-got; err != io.EOF.Error() {
			t.Errorf("got %s", err)
		}
		fill(j, 5, 1) // is not lost for readers that come later
		if got := all(j.Subscribe(ID{testBoot, 5003}, Filter{})); got != "4 5" {
			t.Errorf("after the end: %s", got)
		}
	})
}

// A reader that a filter gives nothing gets its position from time to time: when it comes back
// after a while, it has not missed what it would not have got.
func TestPosition(t *testing.T) {
	j := journalIn("")
	c := j.Subscribe(ID{}, Filter{Names: []string{"none"}})
	fill(j, 1, scanSize+5)
	b, err := c.Next(t.Context())
	if err != nil || len(b.Events) > 0 || b.Last.Seq != 5000+scanSize {
		t.Errorf("got %+v, %v", b, err)
	}
}

// An ID that cannot be known yet stands for the end.
func TestFutureID(t *testing.T) {
	j := journalIn("")
	fill(j, 1, 1)
	c := j.Subscribe(ID{testBoot, 1 << 60}, Filter{})
	fill(j, 2, 1)
	if got := all(c); got != "2" {
		t.Errorf("got %s", got)
	}
}

// Many writers and readers: each reader gets each event once and in order, or learns how many
// it has missed.
func TestReaders(t *testing.T) {
	const writers, each = 4, 2500
	j := journalIn(t.TempDir())
	begin := j.last
	j.Append(Event{Kind: Supervisor})
	var readers, writing sync.WaitGroup
	for range 5 {
		readers.Go(func() {
			c := j.Subscribe(ID{testBoot, begin + 1}, Filter{})
			count, at := 0, begin+1
			for {
				b, err := c.Next(t.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if b.Gap != nil {
					count, at = count+int(b.Gap.Missed), at+b.Gap.Missed
				}
				for _, e := range b.Events {
					if e.ID.Seq != at+1 {
						t.Errorf("%v follows %d", e.ID, at)
						return
					}
					count, at = count+1, at+1
				}
			}
			if count != writers*each {
				t.Errorf("a reader knows of %d events", count)
			}
		})
	}
	for w := range writers {
		writing.Go(func() { fill(j, w*each, each) })
	}
	writing.Wait()
	j.Close()
	readers.Wait()
}

func TestBoot(t *testing.T) {
	got := Boot([]timeline.Event{
		{At: 0, Stage: timeline.Kernel, Result: "v1"},
		{At: 2, Stage: timeline.Mounts, Name: "initramfs", Result: "warning"},
		{At: 3, Stage: timeline.Onboot, Name: "000-dhcp", Result: "exited 1", Took: 5, Note: "continuing"},
		{At: 4, Stage: timeline.Service, Name: "web", Result: "running"},
		{At: 5, Stage: timeline.Ready},
	})
	want := []Event{
		{At: 1, Kind: Stage, Name: "kernel", Text: "v1"},
		{At: 2, Kind: Stage, Name: "mounts initramfs", Text: "warning"},
		{At: 3, Kind: Onboot, Name: "000-dhcp", Text: "exited 1; continuing", Took: 5},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v", got)
	}
}

func TestThisBoot(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	boot, err := ThisBoot()
	if err != nil || fmt.Sprintf("%08x", boot) != string(text[:8]) {
		t.Errorf("%08x of %s, %v", boot, text, err)
	}
}
