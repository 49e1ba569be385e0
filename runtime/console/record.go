package console

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"keelson/runtime/fault"
	"keelson/runtime/timeline"
)

// recordQueue bounds the events waiting to be appended.
const recordQueue = 256

// record appends events to the timeline. It has its own goroutine, because the file system
// of the timeline may hang.
type record struct {
	path   string
	log    *slog.Logger
	append func(path string, e timeline.Event) error

	mu     sync.Mutex
	queue  chan timeline.Event
	lost   int
	closed bool
	done   chan struct{} // closed when the writer has ended
}

func newRecord(path string, log *slog.Logger) *record {
	return &record{path: path, log: log, append: timeline.Append, queue: make(chan timeline.Event, recordQueue), done: make(chan struct{})}
}

func (r *record) put(e timeline.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	select {
	case r.queue <- e:
	default:
		r.lost++
	}
}

// close makes write return at the end of the queue.
func (r *record) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
}

// write appends the queued events. It is the body of the goroutine.
func (r *record) write() {
	gap := false
	for e := range r.queue {
		fault.Here("timeline")
		err := r.append(r.path, e)
		if lost := r.takeLost(); lost > 0 {
			err = errors.Join(err, fmt.Errorf("%d events were lost: writing took too long", lost))
		}
		switch {
		case err == nil || errors.Is(err, fs.ErrNotExist): // Its folder does not exist very early and very late.
			gap = false
		case !gap: // Report a gap once, not for each event.
			gap = true
			r.log.Error("timeline has a gap", "error", err)
		}
	}
}

func (r *record) takeLost() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost := r.lost
	r.lost = 0
	return lost
}
