package reader

import (
	"iter"
	"strings"
	"time"

	"keelson/runtime/logs"
)

// daemon reads what a logging daemon has of logs that are not in files. It is not followed.
type daemon struct {
	set    Set
	wanted func(logFile) bool
	pull   func() (logs.Line, error, bool)
	stop   func()
}

// dump returns the lines of the logging daemon, if there is one.
func (s Set) dump() iter.Seq2[logs.Line, error] {
	if !logs.External(s.Query) {
		return func(func(logs.Line, error) bool) {}
	}
	return logs.Dump(s.Query)
}

// daemonStream splits the name that a logging daemon has for a stream.
func daemonStream(full string) (name, stream string) {
	if name, ok := strings.CutSuffix(full, ".out"); ok && name != "" {
		return name, Stdout
	}
	return full, Stderr
}

func (d *daemon) close() {
	if d.stop != nil {
		d.stop()
	}
}

func (d *daemon) follow() {}

func (d *daemon) start(time.Time) error {
	d.close()
	d.pull, d.stop = iter.Pull2(d.set.dump())
	return nil
}

func (d *daemon) next() (Entry, bool, error) {
	for {
		line, err, ok := d.pull()
		if err != nil || !ok { // What the daemon does not answer in time is left out.
			return Entry{}, false, nil
		}
		name, stream := daemonStream(line.Name)
		if d.wanted(logFile{name: name, stream: stream}) {
			return Entry{Time: line.Time, Bound: line.Time.IsZero(), Name: name, Stream: stream, Text: []byte(line.Text)}, true, nil
		}
	}
}
