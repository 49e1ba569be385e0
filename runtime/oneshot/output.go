package oneshot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/logs"
)

const (
	// logLimit bounds each stream's log and the one before it.
	logLimit = 1 << 20
	// drainTime is how long a process that outlived its container may hold up
	// the end of the log.
	drainTime = time.Second
)

// outputs are where a container's stderr and stdout go, in this order.
type outputs struct {
	copier logs.Copier
	write  [2]*os.File
	stream [2]*logs.Stream // nil: handed over
	names  []string        // of those handed over
}

// open makes the pipes of r. Those that no logging daemon takes are copied to
// files of bounded size.
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
		name := r.options.LogPrefix + r.bundle.Name + [2]string{"", ".out"}[i]
		if external && o.handOver(r, name, source) {
			*path = ""
			continue
		}
		if r.options.Again {
			r.result.before = append(r.result.before, sizeOf(*path))
		} else if err := fresh(*path); err != nil {
			r.options.Logger.Error("an old log is left", "container", r.bundle.Name, "error", err)
		}
		o.stream[i] = o.copier.Copy(source, logs.Options{
			Path: *path, Limit: logLimit, Mirror: lines(r.options.Mirror), Logger: r.options.Logger,
		})
	}
	return nil
}

func (o *outputs) handOver(r *run, name string, source *os.File) bool {
	conn, err := source.SyscallConn()
	if err == nil {
		cerr := conn.Control(func(fd uintptr) {
			// Who is handed a descriptor expects one that blocks.
			if err = unix.SetNonblock(int(fd), false); err != nil {
				return
			}
			if err = logs.HandOver(r.options.ExternalSocket, name, int(fd)); err != nil {
				err = errors.Join(err, unix.SetNonblock(int(fd), true))
			}
		})
		err = errors.Join(err, cerr)
	}
	if err != nil {
		r.options.Logger.Error("logging daemon gets no log, a file does", "container", r.bundle.Name, "error", err)
		return false
	}
	_ = source.Close() // It is the daemon's now.
	o.names = append(o.names, name)
	return true
}

// close ends the logs; what was printed is in them then.
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

// extent is how much of which file there was.
type extent struct {
	path  string
	inode uint64
	size  int64
}

// sizeOf is the extent of the log at path before it goes on.
func sizeOf(path string) extent {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return extent{path: path}
	}
	return extent{path, st.Ino, st.Size}
}

// fresh removes the logs of an earlier run.
func fresh(path string) error {
	for _, p := range []string{path, logs.Old(path)} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove log: %w", err)
		}
	}
	return nil
}

// lines hands on whole lines, or what has come when there is too much without
// an end. What follows the last end of line is left to the log.
func lines(show func([]byte)) func([]byte) {
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
