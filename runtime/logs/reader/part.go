package reader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"keelson/runtime/logs/index"
	"keelson/runtime/readfile"
)

// slack is how much earlier than its bytes a record may be, and more.
const slack = 5 * index.Interval

// part is a file of a log: the current one or a rotated one.
type part struct {
	f     *os.File
	info  fs.FileInfo
	begin int64     // of the lines of the boot that is read
	end   int64     // of what is read: the size when it was opened, or the end of the boot's lines
	past  *pastBoot // the boot that is read; nil: all, or the one that runs
	index *index.Index
	clock *clock

	record int // that contains the last line; -1: before the first
	stale  bool
	gap    bool // some of what was written before it may be lost

	seen   int64     // the size when the log was seen to end here
	seenAt time.Time // when
	readAt time.Time // when the part was read the last time
}

// Parts returns the files of the log at path, oldest first. The supervisor's rotated part is
// PATH.1; LinuxKit's logwrite, which writes the output that a logging daemon receives, names
// the newest PATH.0, and older ones by higher numbers.
func Parts(path string) []string {
	entries, _ := os.ReadDir(filepath.Dir(path)) // Without the folder there is no log.
	var numbers []uint64
	current := false
	for _, e := range entries {
		if base, n := cutNumber(e.Name()); base != filepath.Base(path) {
			continue
		} else if n < 0 {
			current = true
		} else {
			numbers = append(numbers, uint64(n))
		}
	}
	slices.Sort(numbers)
	var paths []string
	for _, n := range slices.Backward(numbers) {
		paths = append(paths, fmt.Sprintf("%s.%d", path, n))
	}
	if current {
		paths = append(paths, path)
	}
	return paths
}

// cutNumber takes the number off the name of a rotated file; -1: it has none.
func cutNumber(name string) (base string, number int) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return name, -1
	}
	n, err := strconv.ParseUint(name[i+1:], 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != name[i+1:] {
		return name, -1
	}
	return name[:i], int(n)
}

// openParts opens the files of a log, oldest first. It opens the newest one first: a
// rotation meanwhile moves a file that is open to the name of an older one, and it is not
// opened twice.
func openParts(path string, c *clock) ([]*part, error) {
	var parts []*part
	paths := Parts(path)
	for _, p := range slices.Backward(paths) {
		now := time.Now()
		f, info, err := readfile.Open(p, os.O_RDONLY)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, readfile.ErrNotRegular) {
			continue
		}
		if err != nil {
			closeParts(parts)
			return nil, fmt.Errorf("cannot open log: %w", err)
		}
		if slices.ContainsFunc(parts, func(o *part) bool { return os.SameFile(o.info, info) }) {
			_ = f.Close()
			continue
		}
		one := &part{f: f, info: info, end: info.Size(), clock: c, record: -1, seen: info.Size(), seenAt: now}
		one.openIndex(append([]string{p}, paths...))
		parts = append(parts, one)
	}
	slices.Reverse(parts)
	return parts, nil
}

func closeParts(parts []*part) {
	for _, p := range parts {
		p.close()
	}
}

func (p *part) close() {
	_ = p.f.Close()
	if p.index != nil {
		_ = p.index.Close()
	}
}

// openIndex opens the index, which a rotation may have moved to that of another path.
func (p *part) openIndex(logs []string) {
	for _, log := range logs {
		if x, err := index.Open(index.Path(log), p.f); err == nil {
			p.index, p.record = x, -1
			return
		}
	}
}

// refresh looks for new records, also in an index that has replaced the one that is open.
func (p *part) refresh(path string) {
	p.stale = false
	if p.index != nil && p.index.Refresh() == nil && !p.index.Replaced() {
		return
	}
	if p.index != nil {
		_ = p.index.Close()
		p.index, p.record = nil, -1
	}
	p.openIndex([]string{path, path + ".1"})
}

// timeOf returns the time of the line that begins at offset.
func (p *part) timeOf(offset int64) (t time.Time, bound bool) {
	t, bound = p.recorded(offset)
	if p.past != nil {
		if bound && t.After(p.past.seen) && !p.past.seen.IsZero() {
			t = p.past.seen
		}
		return t, bound
	}
	if offset >= p.seen && (bound || t.Before(p.seenAt.Add(-slack))) {
		return p.readAt, false // It came after that.
	}
	return t, bound
}

func (p *part) recorded(offset int64) (t time.Time, bound bool) {
	if p.index == nil {
		return p.info.ModTime(), true
	}
	if r, err := p.index.Record(p.record); err != nil || r.Offset > offset {
		p.record = p.index.Find(offset)
	}
	for p.record+1 < p.index.Len() {
		r, err := p.index.Record(p.record + 1)
		if err != nil || r.Offset > offset {
			break
		}
		p.record++
		_ = p.index.Load(p.record) // Else each record is read by itself.
	}
	return p.wall(offset)
}

// wall returns the time of the record for offset.
func (p *part) wall(offset int64) (time.Time, bool) {
	boot := p.index.Boot(offset)
	if r, err := p.index.Record(p.record); err == nil && boot >= 0 && p.index.Boot(r.Offset) == boot {
		return p.wallOf(r, boot), false
	}
	if r, err := p.index.Record(p.record + 1); err == nil {
		if next := p.index.Boot(r.Offset); next >= 0 {
			return p.wallOf(r, next), true
		}
	}
	return p.info.ModTime(), true
}

func (p *part) wallOf(r index.Record, boot int) time.Time {
	b := p.index.Boots[boot]
	if p.past != nil && b.ID == p.past.id {
		return time.Unix(0, int64(p.past.epoch+r.At))
	}
	if b.ID != index.ThisBoot() {
		return time.Unix(0, int64(b.Epoch+r.At))
	}
	return p.clock.wall(r.At)
}

// seek returns the offset of the first byte that may have been written since a time; false
// if all of the part was written before.
func (p *part) seek(since time.Time) (int64, bool) {
	if p.index == nil || p.index.Len() == 0 || len(p.index.Boots) == 0 {
		return 0, !p.info.ModTime().Before(since)
	}
	for boot, b := range p.index.Boots {
		first := max(0, p.index.Find(b.Start))
		last := p.index.Len()
		if boot+1 < len(p.index.Boots) {
			last = max(first, p.index.Find(p.index.Boots[boot+1].Start-1)+1)
		}
		i := first + sort.Search(last-first, func(i int) bool {
			r, err := p.index.Record(first + i)
			return err != nil || !p.wallOf(r, boot).Before(since)
		})
		if i == last {
			continue
		}
		r, err := p.index.Record(i)
		if err != nil || i == 0 { // Lines before the first record have its time.
			return 0, true
		}
		return r.Offset, true
	}
	return 0, false
}
