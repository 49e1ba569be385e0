package oneshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/logs"
)

const (
	// logLimit bounds each stream's log together with the rotated one.
	logLimit = 1 << 20
	// drainTime is how long the log waits for processes that outlive the container.
	drainTime = time.Second
)

// outputs are the destinations of a container's stderr and stdout, in this order.
type outputs struct {
	copier logs.Copier
	write  [2]*os.File
	stream [2]*logs.Stream // nil: a logging daemon has it
	names  []string        // of the streams that a logging daemon has
}

// open makes the pipes of r, and sends them to a logging daemon or copies them to files
// of bounded size.
func (o *outputs) open(r *run) error {
	if err := os.MkdirAll(r.options.LogDir, 0o755); err != nil {
		return fmt.Errorf("cannot make log directory: %w", err)
	}
	external := logs.External(r.options.ExternalSocket)
	for i, path := range []*string{&r.result.Stderr, &r.result.Stdout} {
		source, sink, err := os.Pipe()
		if err != nil {
			return errors.Join(fmt.Errorf("cannot make pipe for output: %w", err), o.close())
		}
		o.write[i] = sink
		if r.bundle.FirstID != 0 { // A program may open /dev/stdout by name.
			if err := sink.Chown(int(r.bundle.FirstID), int(r.bundle.FirstID)); err != nil {
				return errors.Join(fmt.Errorf("cannot give a pipe to the user of the container: %w", err), o.close())
			}
		}
		name := r.options.LogPrefix + r.bundle.Name + [2]string{"", ".out"}[i]
		if external && o.sendToDaemon(r, name, source) {
			*path = ""
			continue
		}
		if r.options.Append {
			r.result.before = append(r.result.before, sizeOf(*path))
		} else if err := logs.Remove(*path); err != nil {
			r.options.Logger.Error("an old log was not removed", "container", r.bundle.Name, "error", err)
		}
		o.stream[i] = o.copier.Copy(source, logs.Options{
			Path: *path, Limit: logLimit, Mirror: wholeLines(r.options.Mirror), Logger: r.options.Logger,
		})
	}
	return nil
}

// sendToDaemon reports whether the logging daemon took the stream.
func (o *outputs) sendToDaemon(r *run, name string, source *os.File) bool {
	conn, err := source.SyscallConn()
	if err == nil {
		cerr := conn.Control(func(fd uintptr) {
			// Logging daemons expect a descriptor that blocks.
			if err = unix.SetNonblock(int(fd), false); err != nil {
				return
			}
			if err = logs.SendToDaemon(r.options.ExternalSocket, name, int(fd)); err != nil {
				err = errors.Join(err, unix.SetNonblock(int(fd), true))
			}
		})
		err = errors.Join(err, cerr)
	}
	if err != nil {
		r.options.Logger.Error("output goes to a file instead of the logging daemon", "container", r.bundle.Name, "error", err)
		return false
	}
	_ = source.Close() // The daemon has a descriptor of its own.
	o.names = append(o.names, name)
	return true
}

// close ends the logs. All output is in them when it returns.
func (o *outputs) close() error {
	var errs []error
	for i, w := range o.write {
		if w != nil {
			errs = append(errs, w.Close())
		}
		if o.stream[i] != nil {
			o.stream[i].Finish(drainTime)
		}
	}
	o.copier.Close()
	return errors.Join(errs...)
}

// extent is the size of a file at some time.
type extent struct {
	path  string
	inode uint64
	size  int64
}

// sizeOf returns the current extent of the log at path.
func sizeOf(path string) extent {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return extent{path: path}
	}
	return extent{path, st.Ino, st.Size}
}

// wholeLines returns a function that collects text and calls show with whole lines, or
// with the text so far when a line is too long. Text after the last line break is not
// shown; it is in the log.
func wholeLines(show func([]byte)) func([]byte) {
	if show == nil {
		return nil
	}
	const longest = 4 << 10
	var part []byte
	return func(text []byte) {
		part = append(part, text...)
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			show(part[:i+1])
			part = append(part[:0], part[i+1:]...)
		}
		if len(part) > longest {
			show(part)
			part = part[:0]
		}
	}
}
