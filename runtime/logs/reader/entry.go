package reader

import "time"

// Streams of a container.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Entry is a line of a log, or a part of a long one.
type Entry struct {
	Time   time.Time
	Bound  bool   // Time is the latest possible
	Name   string // of the log
	Stream string // Stdout or Stderr; empty: the log has no streams
	Text   []byte // without the end of line; valid until the next entry is read
	More   bool   // the next entry continues the line
	Open   bool   // the log ends here, without an end of line
	Gap    bool   // no line: some between the entry before and the next one of this log may be lost

	continued bool // it continues a line
}

// source is a log that is read.
type source interface {
	// next returns the next entry; false if there is none now.
	next() (Entry, bool, error)
	// start goes to the first line that may have been written since a time, or back to
	// it; zero: to the first line.
	start(since time.Time) error
	// follow makes next return lines that come later.
	follow()
	close()
}
