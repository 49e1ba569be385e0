package events

import (
	"encoding/json"
	"log/slog"
	"os"
	"sync"
	"time"

	"keelson/runtime/timeline"
)

// Options of a journal. What is left empty has the default named.
type Options struct {
	Dir    string               // of its files; empty: it is only in memory
	Boot   uint32               // see ID; 0: ThisBoot
	Now    func() time.Duration // CLOCK_BOOTTIME
	Wall   func() time.Time     // time.Now
	Logger *slog.Logger         // receives failures to write; nothing does
}

// Journal is a journal of events. Its methods may be called from any goroutine. Make one with
// Open.
type Journal struct {
	options Options
	fresh   bool // nothing was kept

	mu      sync.Mutex
	ring    ring
	file    file
	last    uint64
	lost    int           // events that could not be written since the last that could
	changed chan struct{} // closed at the next event; nil: nobody waits for it
	closed  bool
}

// Open returns the journal that an earlier process has kept in files, or a new one. It does not
// fail: without files, events are in memory.
func Open(options Options) *Journal {
	if options.Now == nil {
		options.Now = timeline.Now
	}
	if options.Wall == nil {
		options.Wall = time.Now
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	j := &Journal{options: options}
	if options.Boot == 0 {
		boot, err := ThisBoot()
		if err != nil {
			options.Logger.Error("IDs of events of different boots may be the same", "error", err)
		}
		j.options.Boot = boot
	}
	j.load()
	return j
}

func (j *Journal) load() {
	if j.options.Dir != "" {
		j.file.dir = j.options.Dir
		last, err := j.file.load(j.options.Boot, j.ring.add)
		if err == nil {
			err = os.MkdirAll(j.options.Dir, 0o755)
		}
		if err != nil {
			j.options.Logger.Error("cannot read the journal of events of the supervisor before: events are missing", "error", err)
		}
		j.last = last
	}
	j.fresh = j.ring.count == 0
	if j.last == 0 {
		j.last = max(j.ring.last(), uint64(j.options.Now().Microseconds()))
	}
}

// Fresh reports whether no event of an earlier process was kept.
func (j *Journal) Fresh() bool { return j.fresh }

// Append adds an event. It sets the ID, and the times unless At is set; with At, Time is what
// the wall clock shows now, less the time since At. It waits for no reader.
func (j *Journal) Append(e Event) {
	if lost, err := j.append(e.limited()); err != nil && lost == 1 {
		j.options.Logger.Error("cannot write the journal of events: events are only in memory, and lost if the supervisor dies", "error", err)
	} else if err == nil && lost > 0 {
		j.options.Logger.Info("the journal of events is written again", "lost if the supervisor dies", lost)
	}
}

// append returns the error of writing the event, and how many events are not written: with this
// one, or before it if it was written.
func (j *Journal) append(e Event) (lost int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	e.ID = ID{j.options.Boot, j.last}
	now := j.options.Now()
	if e.At == 0 {
		e.At = now
	}
	e.Time = j.options.Wall().Add(e.At - now).Round(0).UTC()
	line, err := json.Marshal(e)
	if err != nil { // An event has only types that can be encoded.
		return 0, err
	}
	line = append(line, '\n')
	j.ring.add(e, len(line))
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
	if err = j.file.append(e.ID, line); err != nil {
		j.lost++
		return j.lost, err
	}
	lost, j.lost = j.lost, 0
	return lost, nil
}

// Last returns the ID of the newest event, or that of none.
func (j *Journal) Last() ID {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ring.count == 0 {
		return ID{}
	}
	return j.ring.at(j.ring.count - 1).ID
}

// Close ends the readers once they have read all, and closes the files.
func (j *Journal) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.file.close()
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}
