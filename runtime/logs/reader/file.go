package reader

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// LineLimit is the most of a line that is returned at once, in bytes.
const LineLimit = 16 << 10

// file is a log in files.
type file struct {
	path         string
	name, stream string
	clock        *clock
	own          func(line []byte) (time.Time, bool) // the time in the text of a line; may be nil

	parts  []*part
	at     int // part that is read
	buffer []byte
	lo, hi int   // what of the buffer is not returned yet
	off    int64 // of buffer[hi] in the part
	hold   bool  // a line without an end is not returned before it has one
	gap    bool  // some of what came before the part that is read may be lost
	live   bool

	time      time.Time // of the line that was begun
	bound     bool
	timed     bool // these are set
	continued bool // the next text continues a line
}

func openFile(path, name, stream string, c *clock, v *view) (*file, error) {
	f := &file{path: path, name: name, stream: stream, clock: c}
	if name == containerdName {
		f.own = containerdTime
	}
	var err error
	f.parts, err = openParts(path, c)
	f.parts = v.restrict(path, f.parts)
	return f, err
}

func (f *file) close() { closeParts(f.parts) }

func (f *file) follow() { f.live = true }

// start implements source.
func (f *file) start(since time.Time) error {
	at, off := 0, int64(0)
	if !since.IsZero() {
		at, off = f.seek(since)
	}
	return f.jump(at, off)
}

func (f *file) seek(since time.Time) (at int, off int64) {
	for i, p := range f.parts {
		if off, ok := p.seek(since); ok {
			return i, off
		}
	}
	if len(f.parts) == 0 {
		return 0, 0
	}
	return len(f.parts) - 1, f.parts[len(f.parts)-1].end
}

// begin returns where a part begins.
func (f *file) begin(at int) int64 {
	if at < 0 || at >= len(f.parts) {
		return 0
	}
	return f.parts[at].begin
}

// jump goes to the first line that begins at an offset or after it.
func (f *file) jump(at int, off int64) error {
	first := f.begin(at)
	f.at, f.off, f.lo, f.hi, f.timed, f.continued = at, max(off, first), 0, 0, false, false
	if off <= first {
		return nil
	}
	f.off-- // The line before may end there.
	for {
		if i := bytes.IndexByte(f.buffer[f.lo:f.hi], '\n'); i >= 0 {
			f.lo += i + 1
			return nil
		}
		f.lo = f.hi
		if n, err := f.fill(); err != nil || n == 0 {
			f.continued = err == nil // The rest of that line follows.
			return err
		}
	}
}

// tail goes to the last n lines, unless the log is further already.
func (f *file) tail(n int) error {
	current := f.off - int64(f.hi-f.lo)
	for at := len(f.parts) - 1; at >= f.at; at-- {
		p := f.parts[at]
		for end := p.end; end > p.begin; {
			begin := max(p.begin, end-LineLimit)
			f.allocate()
			text := f.buffer[:end-begin]
			if _, err := p.f.ReadAt(text, begin); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if end == p.end && at == len(f.parts)-1 {
				text = bytes.TrimSuffix(text, []byte("\n"))
			}
			for {
				i := bytes.LastIndexByte(text, '\n')
				if i < 0 {
					break
				}
				if n--; n == 0 {
					if at == f.at && begin+int64(i)+1 < current {
						return f.jump(at, current)
					}
					return f.jump(at, begin+int64(i)+1)
				}
				text = text[:i]
			}
			end = begin
		}
	}
	return f.jump(f.at, current)
}

func (f *file) allocate() {
	if f.buffer == nil {
		f.buffer = make([]byte, LineLimit)
	}
}

// fill reads more of the part into the buffer; 0 at its end.
func (f *file) fill() (int, error) {
	f.allocate()
	if f.at < 0 || f.at >= len(f.parts) {
		return 0, nil
	}
	if f.lo > 0 {
		f.hi = copy(f.buffer, f.buffer[f.lo:f.hi])
		f.lo = 0
	}
	p := f.parts[f.at]
	room := f.buffer[f.hi:]
	if !f.live {
		room = room[:min(int64(len(room)), max(0, p.end-f.off))]
	}
	if len(room) == 0 {
		return 0, nil
	}
	n, err := p.f.ReadAt(room, f.off)
	f.hi += n
	f.off += int64(n)
	if n > 0 {
		p.stale, p.readAt = true, time.Now()
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// next implements source.
func (f *file) next() (Entry, bool, error) {
	for {
		if f.gap && f.lo == f.hi {
			f.gap = false
			e := f.take(f.hi, 0)
			e.Gap, e.continued = true, false
			return e, true, nil
		}
		if i := bytes.IndexByte(f.buffer[f.lo:f.hi], '\n'); i >= 0 {
			return f.take(f.lo+i, 1), true, nil
		}
		if f.gap { // The rest of this line is lost too.
			e := f.take(f.hi, 0)
			f.timed, f.continued, e.Open = false, false, true
			return e, true, nil
		}
		if f.hi-f.lo == LineLimit {
			e := f.take(f.hi, 0)
			e.More = true
			f.continued = true
			return e, true, nil
		}
		if n, err := f.fill(); err != nil {
			return Entry{}, false, err
		} else if n > 0 {
			continue
		}
		if more, err := f.advance(); err != nil {
			return Entry{}, false, err
		} else if more {
			continue
		}
		if !f.live && !f.hold && f.lo < f.hi {
			e := f.take(f.hi, 0)
			e.Open = true
			return e, true, nil
		}
		return Entry{}, false, nil
	}
}

// take returns the text up to end, and skips what ends it.
func (f *file) take(end, skip int) Entry {
	f.date()
	e := Entry{Time: f.time, Bound: f.bound, Name: f.name, Stream: f.stream, Text: f.buffer[f.lo:end], continued: f.continued}
	if f.bound && f.own != nil {
		if t, ok := f.own(e.Text); ok {
			e.Time, e.Bound = t, false
		}
	}
	f.lo = end + skip
	if skip > 0 {
		f.timed, f.continued = false, false
	}
	return e
}

// date finds the time of the line that begins in the buffer.
func (f *file) date() {
	if f.timed || f.at < 0 || f.at >= len(f.parts) {
		return
	}
	p := f.parts[f.at]
	if p.stale && f.live {
		p.refresh(f.path)
	}
	f.time, f.bound = p.timeOf(f.off - int64(f.hi-f.lo))
	f.timed = true
}

// advance goes to the next part. Its first bytes continue a line that has no end.
func (f *file) advance() (bool, error) {
	if f.live && f.at+1 >= len(f.parts) {
		if err := f.renew(); err != nil {
			return false, err
		}
	}
	if f.at+1 >= len(f.parts) {
		return false, nil
	}
	// Nothing writes to a rotated file any more, so this is the rest of it.
	if n, err := f.fill(); err != nil || n > 0 {
		return n > 0, err
	}
	if f.lo < f.hi {
		f.date()
	}
	f.at++
	f.off = f.begin(f.at)
	f.gap = f.parts[f.at].gap
	return true, nil
}

// renew finds out whether the last part was rotated or truncated.
func (f *file) renew() error {
	if len(f.parts) == 0 {
		parts, err := openParts(f.path, f.clock)
		f.parts, f.at, f.off = parts, -1, 0
		if len(parts) == 0 {
			f.at = 0
		}
		return err
	}
	p := f.parts[len(f.parts)-1]
	if now, err := os.Lstat(f.path); err == nil && !os.SameFile(now, p.info) {
		return f.appendParts(p)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info, err := p.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < f.off { // It was truncated.
		p.begin, f.off, f.lo, f.hi, f.timed, f.continued = 0, 0, 0, 0, false, false
	}
	p.seen, p.seenAt = f.off, time.Now()
	return nil
}

// appendParts opens the parts that came after the last one.
func (f *file) appendParts(last *part) error {
	parts, err := openParts(f.path, f.clock)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(parts, func(p *part) bool { return os.SameFile(p.info, last.info) })
	closeParts(parts[:i+1])
	closeParts(f.parts[:f.at]) // They are read.
	for _, p := range parts[i+1:] {
		p.seen, p.seenAt = 0, last.seenAt // Its lines are later.
	}
	if i < 0 && len(parts) > 0 { // It is not kept any more, nor is perhaps what came after it.
		parts[0].gap = true
	}
	f.parts = append(f.parts[f.at:], parts[i+1:]...)
	f.at = 0
	return nil
}
