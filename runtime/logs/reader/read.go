package reader

import (
	"container/heap"
	"context"
	"errors"
	"io/fs"
	"iter"
	"regexp"
	"time"

	"keelson/runtime/kmsg"
	"keelson/runtime/readfile"
)

// Options select entries.
type Options struct {
	Names []string       // patterns of path.Match; none: all logs
	Since time.Time      // zero: from the beginning
	Until time.Time      // zero: to the end
	Match *regexp.Regexp // of the text; nil: all lines
	Lines int            // only the last ones; 0: all
	// Follow continues with entries that come later, until the context ends.
	Follow bool
	// Waiting is called when all entries so far were returned and Follow waits; may be nil.
	Waiting func()
}

// Read returns entries in the order of their times. It ends at the first error.
func (s Set) Read(ctx context.Context, o Options) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r := &reading{set: s, options: o}
		defer r.close()
		err := r.open()
		if err == nil {
			err = r.run(ctx, func(e Entry) bool { return yield(e, nil) })
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(Entry{}, err)
		}
	}
}

// errEnough is returned when the caller wants no more entries.
var errEnough = errors.New("no more entries are wanted")

// reading is one Read.
type reading struct {
	set     Set
	options Options
	clock   clock
	heads   heads        // that have an entry
	idle    []*head      // that have none
	kmsg    []*kernelLog // to wait for
	known   []string     // paths of files
}

// head is a source and its next entry.
type head struct {
	source source
	number int // of the source
	entry  Entry
	wanted bool // the line that the entry is part of
}

type heads []*head

func (h heads) Len() int { return len(h) }
func (h heads) Less(i, j int) bool {
	if c := h[i].entry.Time.Compare(h[j].entry.Time); c != 0 {
		return c < 0
	}
	return h[i].number < h[j].number
}
func (h heads) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)   { *h = append(*h, x.(*head)) }
func (h *heads) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

func (r *reading) close() {
	for _, h := range append(r.idle, r.heads...) {
		h.source.close()
	}
}

func (r *reading) add(s source) {
	r.idle = append(r.idle, &head{source: s, number: len(r.idle) + len(r.heads)})
}

func (r *reading) open() error {
	r.clock.set()
	files, err := r.openFiles()
	if err != nil {
		return err
	}
	if err := r.openMessages(); err != nil {
		return err
	}
	inFiles := map[logFile]bool{}
	for _, l := range files {
		inFiles[logFile{name: l.name, stream: l.stream}] = true
	}
	r.add(&daemon{set: r.set, wanted: func(l logFile) bool { return !inFiles[l] && matches(r.options.Names, l.name) }})
	return nil
}

// openFiles opens logs that it does not know yet.
func (r *reading) openFiles() ([]logFile, error) {
	files, err := r.set.files(r.options.Names)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, path := range r.known {
		known[path] = true
	}
	for _, l := range files {
		if known[l.path] {
			continue
		}
		f, err := openFile(l.path, l.name, l.stream, &r.clock, r.set.view)
		if err != nil {
			return nil, err
		}
		f.hold = r.options.Follow
		r.known = append(r.known, l.path)
		r.add(f)
	}
	return files, nil
}

// openMessages opens the kernel log and keelson's messages.
func (r *reading) openMessages() error {
	past, ended := r.set.boot()
	kernel := kmsg.Exists(r.set.Kmsg)
	for _, name := range []string{kernelName, keelsonName} {
		if !matches(r.options.Names, name) {
			continue
		}
		if ended {
			k, err := openKept(past, name == keelsonName, r.set.view.epoch)
			if err != nil {
				return err
			}
			r.add(k)
		} else if kernel {
			k, err := openKernelLog(r.set.Kmsg, name == keelsonName, &r.clock)
			if err != nil {
				return err
			}
			r.kmsg = append(r.kmsg, k)
			r.add(k)
		} else if name == keelsonName && r.set.Timeline != "" {
			e, err := openEvents(r.set.Timeline, &r.clock)
			if err == nil {
				r.add(e)
			} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, readfile.ErrNotRegular) {
				return err
			}
		}
	}
	return nil
}

func (r *reading) run(ctx context.Context, yield func(Entry) bool) error {
	var watcher *watcher
	if r.options.Follow { // Before the logs are read: nothing is missed.
		var err error
		if watcher, err = r.watch(ctx); err != nil {
			return err
		}
		defer watcher.close()
	}
	skip, err := r.skip(ctx)
	if err != nil {
		return err
	}
	passed := func(e Entry) bool {
		if skip > 0 {
			if !e.More {
				skip--
			}
			return true
		}
		return yield(e)
	}
	if err := r.start(); err != nil {
		return err
	}
	if err := r.merge(ctx, always, passed); err != nil || watcher == nil {
		return err
	}
	skip = 0 // The kernel may have dropped lines that were counted.
	for _, h := range r.idle {
		h.source.follow()
	}
	return r.followAll(ctx, watcher, passed)
}

// start moves all sources to their first lines.
func (r *reading) start() error {
	for _, h := range r.idle {
		if err := h.source.start(r.options.Since); err != nil {
			return err
		}
		if f, ok := h.source.(*file); ok && r.unfiltered() {
			if err := f.tail(r.options.Lines); err != nil {
				return err
			}
		}
	}
	return nil
}

// unfiltered reports whether the last lines of all logs contain those that are wanted.
func (r *reading) unfiltered() bool {
	return r.options.Lines > 0 && r.options.Match == nil && r.options.Until.IsZero()
}

// skip returns how many lines come before the last ones. It reads the logs without storing
// lines, whose number has no bound.
func (r *reading) skip(ctx context.Context) (int, error) {
	if r.options.Lines <= 0 {
		return 0, nil
	}
	if err := r.start(); err != nil {
		return 0, err
	}
	n := 0
	count := func(e Entry) bool {
		if !e.More {
			n++
		}
		return true
	}
	for _, h := range r.idle {
		for ctx.Err() == nil {
			if more, err := r.pull(h); err != nil {
				return 0, err
			} else if !more {
				break
			}
			if r.wants(h) {
				count(h.entry)
			}
		}
	}
	return max(0, n-r.options.Lines), nil
}

// pull reads the next entry of a source.
func (r *reading) pull(h *head) (more bool, err error) {
	h.entry, more, err = h.source.next()
	return more, err
}

// wants reports whether the entry is selected. The first part of a line decides.
func (r *reading) wants(h *head) bool {
	e, o := h.entry, r.options
	if e.Gap {
		return true
	}
	if !e.continued {
		h.wanted = (o.Since.IsZero() || !e.Time.Before(o.Since)) && (o.Until.IsZero() || !e.Time.After(o.Until)) &&
			(o.Match == nil || o.Match.Match(e.Text))
	}
	return h.wanted
}

// merge returns all entries that the sources have now; of those that are not ready, none.
func (r *reading) merge(ctx context.Context, ready func(source) bool, yield func(Entry) bool) error {
	idle := r.idle
	r.idle = nil
	for i, h := range idle {
		if !ready(h.source) {
			r.idle = append(r.idle, h)
		} else if err := r.queue(h); err != nil {
			r.idle = append(r.idle, idle[i+1:]...)
			return err
		}
	}
	for len(r.heads) > 0 {
		if ctx.Err() != nil {
			return errEnough
		}
		if err := r.emit(heap.Pop(&r.heads).(*head), yield); err != nil {
			return err
		}
	}
	return nil
}

// emit returns the entry of a source, and those that continue its line.
func (r *reading) emit(h *head, yield func(Entry) bool) error {
	for {
		if r.wants(h) && !yield(h.entry) {
			r.idle = append(r.idle, h)
			return errEnough
		}
		if !h.entry.More {
			return r.queue(h)
		}
		if more, err := r.pull(h); err != nil || !more {
			r.idle = append(r.idle, h)
			return err
		}
	}
}

// queue reads the next entry of a source, and puts it into the heap or among the idle ones.
func (r *reading) queue(h *head) error {
	more, err := r.pull(h)
	if !more || err != nil {
		r.idle = append(r.idle, h)
		return err
	}
	heap.Push(&r.heads, h)
	return nil
}

func always(source) bool { return true }
