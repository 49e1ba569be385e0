package reader

import (
	"fmt"
	"os"
	"time"

	"keelson/runtime/readfile"
	"keelson/runtime/timeline"
)

// eventLog reads keelson's messages from the timeline, in userspace mode.
type eventLog struct {
	file
}

func openEvents(path string, c *clock) (*eventLog, error) {
	f, info, err := readfile.Open(path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("cannot read the timeline: %w", err)
	}
	e := &eventLog{file{path: path, name: keelsonName, clock: c, hold: true}}
	e.parts = []*part{{f: f, info: info, end: info.Size(), clock: c, record: -1}}
	return e, nil
}

func (e *eventLog) start(time.Time) error { return e.jump(0, 0) }

// next skips lines that are no events, for example cut off by a full disk.
func (e *eventLog) next() (Entry, bool, error) {
	for {
		line, ok, err := e.file.next()
		if err != nil || !ok {
			return line, ok, err
		}
		if event, ok := timeline.Parse(line.Text); ok {
			return Entry{Time: e.clock.wall(event.At), Name: keelsonName, Text: []byte(event.String())}, true, nil
		}
	}
}
